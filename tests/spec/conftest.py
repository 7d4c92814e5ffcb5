from __future__ import annotations

from hypothesis import settings

# a busy machine is no fault of the example that was tried on it
settings.register_profile("mawasu", deadline=None, database=None)
settings.load_profile("mawasu")
