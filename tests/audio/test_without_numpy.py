from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT = """
import sys
sys.modules["numpy"] = None
import peer
peer.RTCPeerConnection
try:
    peer.AudioSource
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_bare_connection_needs_no_numpy_and_audio_says_what_to_install() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, cwd=root, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "audio needs numpy: pip install 'webrtc-peer[audio]'"
