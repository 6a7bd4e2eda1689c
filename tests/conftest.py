"""What holds for every test: nothing is left behind, and a missing real part is a reason, not silence."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

pytest_plugins = ["tests.signaling.figures"]

CI = os.environ.get("CI") == "true"
# The same examples each time, and no bound on how long one takes: the machine may be busy. Few of them here, many in
# `make soak`, which names its profile.
settings.register_profile("fast", settings.get_profile("ci"), max_examples=20)
settings.register_profile("soak", settings.get_profile("ci"), max_examples=300)
settings.load_profile("fast")

REAL_PARTS = {
    "coturn": "turnserver",
    "chromium": "chromium",
    "redis": "redis-server",
    "iproute2": "ip",
    "nftables": "nft",
    "npm": "npm",
}


def require_part(part: str) -> str:
    """The path of a real part's program. Missing: a failure in CI, a skip with the reason elsewhere."""
    program = REAL_PARTS[part]
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        reason = f"{program} is not installed (package {part}): `make test` installs it"
        if CI:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "no_tasks_left")
        if item.get_closest_marker("netns") and os.geteuid() != 0 and not CI:
            item.add_marker(pytest.mark.skip(reason="network namespaces need root"))


def _sockets() -> set[str]:
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(entry)
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


@pytest.fixture(autouse=True)
def no_sockets_or_threads_left() -> Iterator[None]:
    """A test must close its sockets and end its threads; shared pools (executors) may keep theirs."""
    sockets = _sockets()
    threads = set(threading.enumerate())
    yield
    left_sockets = _sockets() - sockets
    if left_sockets:
        gc.collect()  # one that only waits for the collector is closed, but with a ResourceWarning
        left_sockets = _sockets() - sockets
    left_threads = [
        thread
        for thread in set(threading.enumerate()) - threads
        if not thread.name.startswith(("asyncio_", "ThreadPoolExecutor"))
    ]
    for thread in left_threads:
        thread.join(5)  # what was told to end may take a moment
    left_threads = [thread for thread in left_threads if thread.is_alive()]
    assert not left_sockets, f"sockets left open: {sorted(left_sockets)}"
    assert not left_threads, f"threads left running: {left_threads}"


@pytest_asyncio.fixture
async def no_tasks_left() -> AsyncIterator[None]:
    """Given to every asynchronous test: a task that still runs a few turns of the loop after it is a leak."""
    before = asyncio.all_tasks()
    yield
    for _ in range(10):
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        left = {task for task in left if not task.done()}
        if not left:
            return
        await asyncio.sleep(0)
    pytest.fail(f"tasks left running: {sorted(str(task.get_coro()) for task in left)}")
