"""Models by name: packaged ones, hub ids, folders; and what each architecture needs."""

from __future__ import annotations

from tarjih.models.packaged import resolve_model

__all__ = ["resolve_model"]
