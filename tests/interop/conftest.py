"""Real parts the tests here share."""

import subprocess
import sys
import tarfile
from pathlib import Path

import aiortc
import pytest

from tests.interop.coturn import coturn, coturn_with_secret, no_allocations_left

__all__ = ["coturn", "coturn_with_secret", "no_allocations_left", "source"]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """aiortc's source distribution of the installed version, unpacked."""
    directory = tmp_path_factory.mktemp("aiortc")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--no-binary", "aiortc", "--dest", str(directory), f"aiortc=={aiortc.__version__}"),
        ],
        check=True,
        timeout=300,
    )
    (archive,) = directory.glob("aiortc-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    return directory / f"aiortc-{aiortc.__version__}"
