"""The estimator has no clock, no socket, no task, and nothing of the package but itself."""

from __future__ import annotations

import ast
from pathlib import Path

import peer.rtp.bandwidth

FORBIDDEN = {"asyncio", "socket", "time", "datetime", "secrets", "random", "threading", "os", "aiortc", "av"}


def test_the_estimator_imports_no_io_no_clock_and_no_media() -> None:
    folder = Path(peer.rtp.bandwidth.__file__).parent
    modules = sorted(folder.glob("*.py"))
    assert len(modules) >= 6
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                names = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, module
                names = {(node.module or "").split(".")[0]} if not node.level else set()
            else:
                continue
            assert not names & (FORBIDDEN | {"peer"}), module
