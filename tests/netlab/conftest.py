"""The lab, for one test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.conftest import require_part
from tests.netlab.lab import Lab


@pytest_asyncio.fixture
async def lab() -> AsyncIterator[Lab]:
    """An empty lab: add sites, hosts and a server. Everything in it is gone after the test, however it ends."""
    for part in ("iproute2", "nftables", "coturn"):
        require_part(part)
    async with Lab() as lab:
        yield lab
