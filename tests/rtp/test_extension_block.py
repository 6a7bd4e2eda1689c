from __future__ import annotations

import struct

import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

from peer.rtp.codecs import HEADER_EXTENSIONS, TRANSPORT_NUMBER
from peer.rtp.extension_block import ExtensionBlock


def agreed(*ids: tuple[int, str]) -> HeaderExtensionsMap:
    found = HeaderExtensionsMap()
    found.configure(
        RTCRtpParameters(headerExtensions=[RTCRtpHeaderExtensionParameters(id=i, uri=uri) for i, uri in ids])
    )
    return found


AUDIO = [(each.id, each.uri) for each in HEADER_EXTENSIONS["audio"]]


@pytest.mark.parametrize("ids", [AUDIO, [(i + 20, uri) for i, uri in AUDIO]], ids=["one byte", "two bytes"])
def test_packets_that_share_a_block_have_numbers_of_their_own(ids: list[tuple[int, str]]) -> None:
    extensions = agreed(*ids)
    block = ExtensionBlock(extensions, HeaderExtensions(mid="0", audio_level=(False, 30)))
    for number in (0, 1, 0x0100, 0xFFFF):
        data = block.numbered(number)
        assert len(data) == len(block)
        profile, words = struct.unpack_from("!HH", data)
        assert len(data) == 4 + 4 * words
        assert extensions.get(profile, data[4:]) == HeaderExtensions(
            mid="0", audio_level=(False, 30), transport_sequence_number=number
        )


def test_where_no_number_has_been_agreed_on_there_is_none() -> None:
    extensions = agreed(*(each for each in AUDIO if each[1] != TRANSPORT_NUMBER))
    block = ExtensionBlock(extensions, HeaderExtensions(mid="0"))
    assert block.numbered(7) == block.numbered(None)


def test_where_nothing_has_been_agreed_on_there_is_no_block() -> None:
    assert ExtensionBlock(agreed(), HeaderExtensions(mid="0")).numbered(7) == b""
