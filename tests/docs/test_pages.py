"""The pages are true: their Python is checked like the package's own, and their links and figures are there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.blocks import PAGES, ROOT, WRITTEN, Block, blocks

CHECKED = list(blocks())


@pytest.mark.slow
def test_every_python_block_on_a_page_passes_the_type_checker(tmp_path: Path) -> None:
    assert len(CHECKED) > 15
    for block in CHECKED:
        (tmp_path / f"{block.name}.py").write_text(block.program())
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.name)
def test_every_python_block_on_a_page_compiles(block: Block) -> None:
    compile(block.program(), block.name, "exec")


@pytest.mark.slow
async def test_the_program_with_two_connections_runs_as_it_stands() -> None:
    [program] = [block.code for block in CHECKED if "here, there = RTCPeerConnection()" in block.code]
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    async with asyncio.timeout(30):
        said, _ = await running.communicate()
    assert said.decode().split() == ["open"]
    assert running.returncode == 0


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT).with_suffix("")))
def test_every_link_and_figure_of_a_page_is_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    "figure", sorted((ROOT / "docs" / "pages" / "figures").glob("*.svg")), ids=lambda f: f.stem
)
def test_every_figure_is_drawn_named_and_shown(figure: Path) -> None:
    root = ElementTree.parse(figure).getroot()
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text
    assert any(figure.name in page.read_text() for page in PAGES)


def test_every_page_is_in_the_contents() -> None:
    contents = (ROOT / "docs" / "mkdocs.yml").read_text()
    for page in PAGES:
        assert str(page.relative_to(ROOT / "docs" / "pages")) in contents
