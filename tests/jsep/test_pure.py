"""Negotiation has values only: no clock, no task, no socket, no object of the connection's, no chance of its own."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

import peer.jsep

FOLDER = Path(peer.jsep.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
FORBIDDEN = {"asyncio", "socket", "time", "datetime", "secrets", "threading", "select", "selectors", "os"}
BELOW = ("peer.jsep.", "peer.sdp.", "peer.rtp.codecs", "peer.ice.candidate", "peer.exceptions", "peer.webidl")


def tree_of(module: str) -> ast.Module:
    return ast.parse((FOLDER / f"{module}.py").read_text())


def imports_of(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found |= {f"peer.jsep.{name}" for name in names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports from above by a relative path"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_negotiation_imports_no_io_and_no_clock(module: str) -> None:
    assert not {name.split(".")[0] for name in imports_of(module)} & FORBIDDEN


@pytest.mark.parametrize("module", MODULES)
def test_negotiation_imports_nothing_that_lives(module: str) -> None:
    ours = {f"{name}." if name in ("peer.sdp", "peer.jsep") else name for name in imports_of(module)}
    above = {name for name in ours if name.startswith("peer") and not name.startswith(BELOW)}
    assert not above


@pytest.mark.parametrize("module", MODULES)
def test_negotiation_never_draws_from_the_global_generator(module: str) -> None:
    drawn = {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
    }
    assert not {name for name in drawn if name.startswith("random.") or name in ("uuid.uuid4", "uuid.uuid1")}


@pytest.mark.parametrize("module", MODULES)
def test_negotiation_reaches_into_no_other_object(module: str) -> None:
    tree = tree_of(module)
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    reached = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in own
    }
    assert not reached


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_negotiation_explains_itself(module: str) -> None:
    assert importlib.import_module(f"peer.jsep.{module}").__doc__


def test_every_effect_is_frozen_and_says_what_it_does() -> None:
    tree = tree_of("effects")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 30
    for node in classes:
        assert [ast.unparse(each) for each in node.decorator_list] == ["dataclass(frozen=True)"], node.name
        assert ast.get_docstring(node), node.name
