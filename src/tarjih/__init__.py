"""Tarjih: severity-weighted fine-tuning for Arabic medical language models."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("tarjih")
