"""The signalling of aiortc's examples, handing out our descriptions and candidates."""

from __future__ import annotations

import argparse
from typing import Any

import aiortc
from aiortc.contrib import signaling as _base
from aiortc.contrib.signaling import BYE, BaseSignaling, add_signaling_arguments, object_to_string

from peer.connection.ice_candidate import ice_candidate
from peer.connection.session_description import session_description

__all__ = [
    "BYE",
    "BaseSignaling",
    "CopyAndPasteSignaling",
    "TcpSocketSignaling",
    "UnixSocketSignaling",
    "add_signaling_arguments",
    "create_signaling",
    "object_from_string",
    "object_to_string",
]


def _ours(value: Any) -> Any:
    if isinstance(value, aiortc.RTCSessionDescription):
        return session_description(value)
    return ice_candidate(value) if isinstance(value, aiortc.RTCIceCandidate) else value


def object_from_string(message: str) -> Any:
    """A description, a candidate or `BYE` from its JSON text."""
    return _ours(_base.object_from_string(message))


class CopyAndPasteSignaling(_base.CopyAndPasteSignaling):
    """aiortc's signalling over standard input and output, with our objects."""

    async def receive(self) -> Any:
        """Wait for a description, a candidate, or the end."""
        return _ours(await super().receive())


class TcpSocketSignaling(_base.TcpSocketSignaling):
    """aiortc's signalling over a TCP socket, with our objects."""

    async def receive(self) -> Any:
        """Wait for a description, a candidate, or the end."""
        return _ours(await super().receive())


class UnixSocketSignaling(_base.UnixSocketSignaling):
    """aiortc's signalling over a Unix socket, with our objects."""

    async def receive(self) -> Any:
        """Wait for a description, a candidate, or the end."""
        return _ours(await super().receive())


def create_signaling(args: argparse.Namespace) -> BaseSignaling:
    """The signalling that `add_signaling_arguments` let the user choose."""
    if args.signaling == "tcp-socket":
        return TcpSocketSignaling(args.signaling_host, args.signaling_port)
    if args.signaling == "unix-socket":
        return UnixSocketSignaling(args.signaling_path)
    return CopyAndPasteSignaling()
