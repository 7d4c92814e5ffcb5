"""The platform on Google Cloud put together, as a run of Cloud Build has it."""

from __future__ import annotations
