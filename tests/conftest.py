"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Times on shared machines mean nothing, so no example fails for being slow. The same examples come
# each time, so that a change is not blamed for what was there before; HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("tarjih", deadline=None, derandomize=True, max_examples=60)
settings.register_profile("explore", deadline=None, max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tarjih"))
