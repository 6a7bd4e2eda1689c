from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.wpt.setup import Connections


@pytest_asyncio.fixture
async def pcs(no_tasks_left: None) -> AsyncIterator[Connections]:
    connections = Connections()
    yield connections
    await connections.close()
