"""Properties of this room are fast, but a busy machine may not be: no deadline for one example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("without-deadline", deadline=None)
settings.load_profile("without-deadline")
