"""Figures of the house, from the code's own syntax: who imports whom, who reaches into whom, what is named twice.

    python -m tests.support.house

prints them, with the places they were found at.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("peer", "signaling")
ENGINES: Final = frozenset(
    {
        "HeaderExtensionsMap",
        "JitterBuffer",
        "RTCDataChannel",
        "RTCDtlsTransport",
        "RTCRtpReceiver",
        "RTCRtpSender",
        "RTCRtpTransceiver",
        "RTCSctpTransport",
        "RemoteStreamTrack",
        "RtpRouter",
    }
)
"""aiortc's classes that do work of their own. Its tracks, parameters and reports are vocabulary."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Module:
    """A module of the house."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def place(self) -> str:
        """The path, as a reader of a report knows it."""
        return str(self.path.relative_to(ROOT))

    @property
    def parent(self) -> str:
        """The package that relative imports start from."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    def imports(self, *, relative: bool = True) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each imported module with the names taken from it, those for type checkers included.

        Without `relative` those imported by a relative path are left out.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, ()
            elif isinstance(node, ast.ImportFrom) and (relative or not node.level):
                base = node.module or ""
                if node.level:
                    above = self.parent.split(".")
                    above = above[: len(above) - node.level + 1]
                    base = ".".join([*above, base] if base else above)
                yield base, tuple(alias.name for alias in node.names)


class House:
    """All modules of the packages."""

    @cached_property
    def modules(self) -> dict[str, Module]:
        """The modules, by their full names."""
        found = {}
        for package in PACKAGES:
            for path in sorted((ROOT / package).rglob("*.py")):
                parts = path.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                found[name] = Module(name, path, ast.parse(path.read_text()))
        return found

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """For each module the modules of the house it imports, for type checkers or not."""
        graph: dict[str, set[str]] = {}
        for module in self.modules.values():
            graph[module.name] = arrows = set()
            for base, names in module.imports():
                submodules = {f"{base}.{name}" for name in names} & self.modules.keys()
                arrows |= submodules
                if base in self.modules and (not names or len(submodules) < len(names)):
                    arrows.add(base)
            arrows.discard(module.name)
        return graph

    def circles(self) -> list[list[str]]:
        """Return the groups of modules that import each other, however far round."""
        reach = {name: self._reachable(name) for name in self.graph}
        groups = {
            frozenset(other for other in reach[name] if name in reach[other]) | {name}
            for name in self.graph
            if name in reach[name]
        }
        return sorted(sorted(group) for group in groups)

    def _reachable(self, start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(self.graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += self.graph[name]
        return seen

    def private_reaches(self, package: str) -> list[str]:
        """Return the places where a module uses a private attribute that it does not define itself."""
        return [
            f"{module.place}:{node.lineno}: {ast.unparse(node)}"
            for module in self._of(package)
            for node in _private_attributes(module.tree, _own_names(module.tree))
        ]

    def engines(self) -> list[str]:
        """Return the classes that inherit one of aiortc's engines."""
        found = []
        for module in self.modules.values():
            theirs = set()
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ImportFrom) and not node.level and _is_of_aiortc(node.module or ""):
                    theirs |= {alias.asname or alias.name for alias in node.names}
                elif isinstance(node, ast.Import):
                    names = [alias for alias in node.names if _is_of_aiortc(alias.name)]
                    theirs |= {(alias.asname or alias.name).split(".")[0] for alias in names}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ClassDef):
                    bases = [ast.unparse(base).split(".") for base in node.bases]
                    if any(base[0] in theirs and base[-1] in ENGINES for base in bases):
                        found.append(f"{module.place}: {node.name}")
        return found

    def names_defined_twice(self) -> dict[str, list[str]]:
        """Return the public classes of one name, with where they are."""
        places: defaultdict[str, list[str]] = defaultdict(list)
        for module in self.modules.values():
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(module.place)
        return {name: where for name, where in places.items() if len(where) > 1}

    def calls(self, attribute: str) -> list[str]:
        """Return the places where an attribute of this name is called."""
        return [
            f"{module.place}:{node.lineno}"
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == attribute
        ]

    def hand_made_task_sets(self) -> list[str]:
        """Return the places where a set is told to forget a task once it has ended."""
        return [
            f"{module.place}:{node.lineno}"
            for module in self.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "add_done_callback"
            and any(isinstance(each, ast.Attribute) and each.attr == "discard" for each in node.args)
        ]

    def undocumented(self) -> tuple[list[str], int]:
        """Return the public definitions without a docstring, and how many public ones there are."""
        missing, count = [], 0
        for module in self.modules.values():
            for name, node in _public_definitions(module.tree):
                count += 1
                if ast.get_docstring(node) is None:
                    missing.append(f"{module.place}:{node.lineno}: {name}")
        return missing, count

    def _of(self, package: str) -> Iterator[Module]:
        for module in self.modules.values():
            if module.name == package or module.name.startswith(f"{package}."):
                yield module


def _is_of_aiortc(name: str) -> bool:
    return name.split(".")[0] == "aiortc"


def _own_names(tree: ast.Module) -> set[str]:
    """What a module defines, or uses as an attribute of its own objects."""
    own = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_self(node.value):
            own.add(node.attr)
        elif isinstance(node, Definition):
            own.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own.add(node.target.id)
    return own


def _private_attributes(tree: ast.Module, own: set[str]) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            if _is_self(node.value) or _is_super(node.value) or node.attr in own:
                continue
            yield node


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _public_definitions(tree: ast.Module) -> Iterator[tuple[str, Definition]]:
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for each in node.body:
                    if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith(
                        "_"
                    ):
                        yield f"{node.name}.{each.name}", each


def _print() -> None:
    house = House()
    missing, count = house.undocumented()
    figures: dict[str, list[str]] = {
        "import circles": [" ".join(circle) for circle in house.circles()],
        "public class names defined twice": [
            f"{name}: {', '.join(where)}" for name, where in house.names_defined_twice().items()
        ],
        "private attributes reached across modules": house.private_reaches("peer"),
        "engines that inherit aiortc's": house.engines(),
        "calls of get_event_loop": house.calls("get_event_loop"),
        "hand-made task sets": house.hand_made_task_sets(),
        f"public definitions without a docstring, of {count}": missing,
    }
    for name, places in figures.items():
        print(f"{name}: {len(places)}")
        for place in places:
            print(f"    {place}")


if __name__ == "__main__":
    _print()
