from __future__ import annotations

from tiny_models import tiny_folder, tiny_model

__all__ = ["tiny_folder", "tiny_model"]
