"""Severity-weighted fine-tuning on top of Transformers' Trainer and PEFT."""
