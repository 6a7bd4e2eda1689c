from __future__ import annotations

import struct

import pylibsrtp
import pytest

from peer import budgets
from peer.dtls.inbound_streams import InboundStreams


def session(direction: int) -> pylibsrtp.Session:
    return pylibsrtp.Session(pylibsrtp.Policy(key=bytes(range(30)), ssrc_type=direction))


def rtp(ssrc: int, number: int) -> bytes:
    return struct.pack("!BBHLL", 0x80, 96, number, 0, ssrc) + b"payload"


def test_libsrtp_keeps_the_streams_heard_last_and_those_still_in_use() -> None:
    ours, theirs = session(pylibsrtp.Policy.SSRC_ANY_INBOUND), session(pylibsrtp.Policy.SSRC_ANY_OUTBOUND)
    streams = InboundStreams()
    used = 0xABCDEF01
    for number in range(1, 4 * budgets.SRTP_STREAMS):
        for ssrc in (used, number):
            assert ours.unprotect(theirs.protect(rtp(ssrc, number)))
            streams.heard(ssrc, ours)
    for ssrc in (1, 2, 3 * budgets.SRTP_STREAMS - 10):
        with pytest.raises(pylibsrtp.Error):
            ours.remove_stream(ssrc)
    ours.remove_stream(4 * budgets.SRTP_STREAMS - 1)
    ours.remove_stream(used)
