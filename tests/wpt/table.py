"""Prints, for each file of the web-platform-tests' `webrtc/`, how many subtests a browser passes, we pass, and we test.

    python -m tests.wpt.table

`subtests.tsv` holds what was measured with the files as they are (snapshot of October 2024): file, `chromium` where
Chromium 156 passes, else `-`, `pass` or `fail` for `peer`, name. For `peer` the files ran in a JavaScript engine, with
the browser's interfaces bound to the objects of `peer`, and no page around them: no canvas, worker, frame, or blob. A
subtest counts as a test of ours when the first line of a test's docstring here says its name.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


class Subtest(NamedTuple):
    name: str
    in_chromium: bool
    passes: bool


def measured() -> dict[str, list[Subtest]]:
    """File → its subtests."""
    files: dict[str, list[Subtest]] = defaultdict(list)
    for line in (HERE / "subtests.tsv").read_text().splitlines():
        file, browser, outcome, name = line.split("\t")
        files[file].append(Subtest(name, browser == "chromium", outcome == "pass"))
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
    total = [0, 0, 0, 0]
    print(f"{'file':<72} subtests  chromium  of these pass  ours")
    for file, subtests in sorted(measured().items()):
        of_browser = [each for each in subtests if each.in_chromium]
        passed = sum(each.passes for each in of_browser)
        row = [len(subtests), len(of_browser), passed, sum(covered(each.name, names) for each in subtests)]
        total = [a + b for a, b in zip(total, row, strict=True)]
        _print(file, row)
    _print("together", total)


def _print(name: str, row: list[int]) -> None:
    print(f"{name:<72} {row[0]:>8} {row[1]:>9} {row[2]:>14} {row[3]:>5}")


if __name__ == "__main__":
    main()
