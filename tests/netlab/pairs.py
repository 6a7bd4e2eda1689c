"""Which pair a Python peer connection uses, told alike for every kind of peer."""

from __future__ import annotations

from typing import Any


def selected_pair(pc: Any) -> dict[str, Any] | None:
    transport = next((t for t in _dtls_transports(pc)), None)
    if transport is None:
        return None
    ice = transport.transport
    if hasattr(ice, "getSelectedCandidatePair"):
        pair = ice.getSelectedCandidatePair()
        if pair is None:
            return None
        return {
            "local": pair.local.type,
            "remote": pair.remote.type,
            "protocol": pair.local.protocol,
            "relay": pair.local.relayProtocol,
            "localAddress": pair.local.address,
            "remoteAddress": pair.remote.address,
            "ports": [pair.local.port, pair.remote.port],
        }
    nominated = ice._connection._nominated.get(1)
    if nominated is None:
        return None
    return {
        "local": nominated.local_candidate.type,
        "remote": nominated.remote_candidate.type,
        "protocol": nominated.local_candidate.transport,
        "relay": None,
        "localAddress": nominated.local_candidate.host,
        "remoteAddress": nominated.remote_candidate.host,
        "ports": [nominated.local_candidate.port, nominated.remote_candidate.port],
    }


def _dtls_transports(pc: Any) -> list[Any]:
    found = [t.sender.transport for t in pc.getTransceivers() if t.sender.transport]
    if pc.sctp is not None:
        found.append(pc.sctp.transport)
    return found
