"""What the packages stand on is declared, with an upper bound: several change between minor versions."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = ("peer", "signaling")


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def requirements() -> list[str]:
    extras = PROJECT["optional-dependencies"]
    shipped = [each for extra, listed in extras.items() if extra not in ("dev", "docs") for each in listed]
    return [
        each for each in [*PROJECT["dependencies"], *shipped] if name_of(each) != name_of(PROJECT["name"])
    ]


@pytest.mark.parametrize("requirement", requirements())
def test_every_requirement_has_an_upper_bound(requirement: str) -> None:
    assert "<" in requirement.partition(";")[0]


def test_whatever_is_imported_is_declared() -> None:
    declared = {name_of(each) for each in requirements()}
    providers = packages_distributions()
    undeclared: dict[str, str] = {}
    for path in (path for package in OURS for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
                modules = [node.module]
            for module in {each.partition(".")[0] for each in modules} - set(OURS) - sys.stdlib_module_names:
                if not declared & {name_of(each) for each in providers.get(module, ())}:
                    undeclared[module] = str(path.relative_to(ROOT))
    assert undeclared == {}
