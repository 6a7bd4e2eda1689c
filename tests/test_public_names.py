"""The public names of `peer`: every tool finds them, and asking for one loads no more than it needs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import peer

ROOT = Path(peer.__file__).parents[1]
HEAVY = ("aiortc", "av", "OpenSSL", "cryptography", "numpy", "pydantic", "websockets")


def imported_for_tools() -> dict[str, str]:
    """What a type checker sees: each public name with its module."""
    tree = ast.parse(Path(peer.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    found: dict[str, str] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        module = f"peer.{node.module}" if node.level else node.module
        assert module is not None
        found |= {alias.asname or alias.name: module for alias in node.names}
    return found


def test_tools_and_the_running_program_see_the_same_names() -> None:
    running = {name: module for module, names in peer._EXPORTS.items() for name in names}
    assert imported_for_tools() == running
    assert set(peer.__all__) == set(running)


@pytest.mark.parametrize("name", peer.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(peer, name) is not None
    assert name in dir(peer)


@pytest.mark.parametrize(
    "module",
    ["peer", "peer.ice.agent.agent", "peer.ice.stun.message", "peer.ice.candidate", "peer.aio.emitter"],
)
def test_the_ice_agent_is_loaded_without_media_encryption_or_signalling(module: str) -> None:
    program = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
