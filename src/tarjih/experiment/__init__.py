"""Experiments: models x conditions x seeds on the same data, resumable."""
