"""The Python blocks of the pages, made into programs that a type checker can read.

A block that is a whole program stands as it is. One that is a piece of one says what it takes for granted in a comment
before it: `<!-- with: pc: RTCPeerConnection, pcm: bytes -->`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import peer

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "pages").rglob("*.md"))
WRITTEN = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *PAGES]
"""The pages, and what is read without them."""

_BLOCK = re.compile(r"(?:<!-- with: (?P<given>.*?) -->\n)?```python\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    line: int
    code: str
    given: str | None

    @property
    def name(self) -> str:
        """Page and line, as a module may be called."""
        page = self.page.relative_to(ROOT).with_suffix("")
        return re.sub(r"\W", "_", f"{page}_{self.line}")

    def program(self) -> str:
        """Return the block as a module: a piece becomes the body of a coroutine that is given what it needs."""
        if self.given is None:
            return self.code
        used = set(re.findall(r"\w+", self.given))
        header = "".join(
            f"from {module} import {name}\n"
            for module, names in (
                ("typing", ["Any"]),
                ("collections.abc", ["Callable"]),
                ("starlette.applications", ["Starlette"]),
                ("peer", peer.__all__),
            )
            for name in names
            if name in used
        )
        return f"{header}\n\nasync def block({self.given}) -> None:\n{textwrap.indent(self.code, '    ')}"


def blocks(pages: list[Path] = WRITTEN) -> Iterator[Block]:
    """Yield every Python block of these pages."""
    for page in pages:
        text = page.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code")) + 1
            yield Block(page, line, match["code"], match["given"])
