"""Settings for relays and clients under test."""

from __future__ import annotations

from typing import Any

from signaling import Backoff, RelaySettings

QUICK: dict[str, Any] = {"backoff": Backoff(first=0.001, longest=0.01), "close_timeout": 1.0}


def relay_settings(**changes: Any) -> RelaySettings:
    values: dict[str, Any] = {
        "development": True,
        "drain_seconds": 0.05,
        "max_connections_per_address": 10_000,
        "connects_per_minute": 1_000_000,
        "messages_per_second": 1_000_000,
        "message_burst": 1_000_000,
        "bytes_per_second": 1e9,
        "leeway": 0.0,
        "max_sessions_per_identity": 1000,
    }
    return RelaySettings(**(values | changes))
