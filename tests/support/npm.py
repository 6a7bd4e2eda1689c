"""Packages of npm as one script for a page."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import require_part

ESBUILD = "esbuild@0.28"


def bundle(directory: Path, packages: list[str], source: str) -> str:
    """Install packages of npm, and return the source with what it imports from them as one module of JavaScript."""
    npm = require_part("npm")
    quiet = ["--silent", "--no-audit", "--no-fund", "--no-progress"]
    subprocess.run([npm, "install", *quiet, ESBUILD, *packages], cwd=directory, check=True, timeout=180)
    entry = directory / "entry.js"
    entry.write_text(source)
    subprocess.run(
        [
            str(directory / "node_modules" / ".bin" / "esbuild"),
            "--bundle",
            "--format=esm",
            "--log-level=error",
            "--define:process.env.NODE_ENV='production'",
            f"--outfile={directory / 'bundle.js'}",
            str(entry),
        ],
        cwd=directory,
        check=True,
        timeout=60,
    )
    return (directory / "bundle.js").read_text()
