"""`python -m signaling`: run a relay."""

from __future__ import annotations

import sys

try:
    from signaling.relay.command import app
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("signaling"):
        raise
    sys.exit(f"the relay needs {error.name}: pip install 'webrtc-peer[server]'")

app(prog_name="python -m signaling")
