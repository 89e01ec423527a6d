"""Evaluation: statistics of each answer first, scores second; every score carries a signature."""
