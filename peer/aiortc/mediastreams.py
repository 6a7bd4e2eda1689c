"""`aiortc.mediastreams`."""

from __future__ import annotations

from aiortc.mediastreams import *  # noqa: F403
