"""Prints, for each file of the web-platform-tests' `webrtc/`, how many subtests there are, pass, and are tests of ours.

    python -m tests.wpt.table

`subtests.tsv` holds what was measured with the files as they are (snapshot of September 2021) in a JavaScript engine,
the browser's interfaces bound to the objects of `peer`: file, `pass` or `fail`, name. A subtest counts as a test of
ours when the first line of a test's docstring here says its name.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent


def measured() -> dict[str, list[tuple[bool, str]]]:
    """File → whether each subtest passed, and its name."""
    files: dict[str, list[tuple[bool, str]]] = defaultdict(list)
    for line in (HERE / "subtests.tsv").read_text().splitlines():
        file, outcome, name = line.split("\t")
        files[file].append((outcome == "pass", name))
    return dict(files)


def own_names() -> set[str]:
    """What the docstrings of the tests here say."""
    names = set()
    for path in HERE.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("test_"):
                names.add(_plain((ast.get_docstring(node) or "").split("\n\n")[0]))
    return names - {""}


def covered(name: str, names: set[str]) -> bool:
    plain = _plain(name)
    return any(plain == own or (len(plain) > 12 and plain in own) for own in names)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def main() -> None:
    names = own_names()
    rows = [
        (
            file,
            len(subtests),
            sum(passed for passed, _ in subtests),
            sum(covered(name, names) for _, name in subtests),
        )
        for file, subtests in sorted(measured().items())
    ]
    print(f"{'file':<72} subtests  pass  ours")
    for file, count, passed, ours in rows:
        print(f"{file:<72} {count:>8} {passed:>5} {ours:>5}")
    together = sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows)
    print(f"{'together':<72} {together[0]:>8} {together[1]:>5} {together[2]:>5}")


if __name__ == "__main__":
    main()
