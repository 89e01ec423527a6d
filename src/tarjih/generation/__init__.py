"""Answers to complaints: batched, left-padded, seeded, and written so that nothing is lost."""
