"""The agent has no clock, no socket, no task, and no randomness it was not given: its modules import none."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import peer.ice.agent

FOLDER = Path(peer.ice.agent.__file__).parent
"""Every module of the agent is core, and so are the values that it shares with what is around it."""

SHARED = ("peer.ice.candidate", "peer.ice.credentials", "peer.ice.stun.message", "peer.ice.stun.errors")
CORE = {f"peer.ice.agent.{path.stem}" for path in FOLDER.glob("*.py")} - {"peer.ice.agent.__init__"} | set(
    SHARED
)
# `network` is the seam itself: protocols only, which is what the core takes its types from.
FORBIDDEN = {"asyncio", "socket", "time", "datetime", "secrets", "threading", "select", "selectors", "os"}


def path_of(module: str) -> Path:
    return FOLDER.parents[2] / (module.replace(".", "/") + ".py")


def source(module: str) -> ast.Module:
    return ast.parse(path_of(module).read_text())


def imports_of(module: str) -> set[str]:
    package = module.rpartition(".")[0]
    found = set()
    for node in ast.walk(source(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) + 1 - node.level]
            base = ".".join(above if node.level else []) + ("." if node.level and node.module else "")
            name = base + (node.module or "")
            # `from . import pair` names a module, `from .pair import CandidatePair` what is in one.
            modules = {
                f"{name}.{alias.name}" for alias in node.names if path_of(f"{name}.{alias.name}").exists()
            }
            found |= modules or {name}
    return found


def test_the_core_imports_no_io_and_no_clock() -> None:
    for module in sorted(CORE):
        assert not {name.split(".")[0] for name in imports_of(module)} & FORBIDDEN, module


def test_the_core_imports_nothing_of_the_package_but_itself_and_the_seam() -> None:
    for module in sorted(CORE):
        ours = {name for name in imports_of(module) if name.startswith("peer")}
        assert ours <= CORE | {"peer.ice.network"}, module


def test_the_core_never_draws_from_the_global_generator() -> None:
    for module in sorted(CORE):
        tree = source(module)
        drawn = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "random"
        }
        assert not drawn, module


def test_every_core_module_explains_itself() -> None:
    for module in sorted(CORE):
        assert importlib.import_module(module).__doc__, module
