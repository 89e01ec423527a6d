"""The annotator that fine-tunes a pretrained encoder."""
