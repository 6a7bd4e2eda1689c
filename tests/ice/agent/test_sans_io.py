"""The agent has no clock, no socket, no task, and no randomness it was not given: its modules import none."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import peer.ice

CORE = {
    "agent",
    "answers",
    "binding",
    "candidate",
    "candidate_table",
    "checklist",
    "checks",
    "consent",
    "credentials",
    "deadlines",
    "events",
    "nomination",
    "pair",
    "piggyback",
    "responder",
    "roles",
    "selection",
    "session",
    "states",
    "stun",
    "timings",
    "transaction",
}
# `network` is the seam itself: protocols only, which is what the core takes its types from.
FORBIDDEN = {"asyncio", "socket", "time", "datetime", "secrets", "threading", "select", "selectors", "os"}
FOLDER = Path(peer.ice.__file__).parent


def imports_of(module: str) -> set[str]:
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module_name = node.module or ""
            if node.level == 1:
                # `from . import stun`, or `from .stun import parse`.
                names = [module_name] if module_name else [alias.name for alias in node.names]
                found |= {f"peer.ice.{name}" for name in names}
            else:
                found.add(module_name)
    return found


def test_the_core_imports_no_io_and_no_clock() -> None:
    for module in sorted(CORE):
        assert not {name.split(".")[0] for name in imports_of(module)} & FORBIDDEN, module


def test_the_core_imports_nothing_of_the_package_but_itself_and_the_seam() -> None:
    for module in sorted(CORE):
        ours = {name.removeprefix("peer.ice.") for name in imports_of(module) if name.startswith("peer")}
        assert ours <= CORE | {"network"}, module


def test_the_core_never_draws_from_the_global_generator() -> None:
    for module in sorted(CORE):
        tree = ast.parse((FOLDER / f"{module}.py").read_text())
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
        assert importlib.import_module(f"peer.ice.{module}").__doc__, module
