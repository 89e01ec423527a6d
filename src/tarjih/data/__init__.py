"""Data: find, read, clean, group near-duplicates, split without leaks, render prompts."""
