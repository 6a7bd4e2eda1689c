"""`aiortc.exceptions`."""

from __future__ import annotations

from aiortc.exceptions import *  # noqa: F403
