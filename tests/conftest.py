"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Times on shared machines mean nothing, so no example fails for being slow.
settings.register_profile("tarjih", deadline=None)
settings.load_profile("tarjih")
