"""RTCIceCandidate: parsed once on its way in, written once on its way out."""

from __future__ import annotations

import pytest

import peer
from peer.connection.ice_candidate import RTCIceCandidate
from peer.ice.candidate import Candidate

LINE = "candidate:1 1 udp 2130706431 192.0.2.1 9 typ host ufrag abcd"


class Counted:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.parsed = self.written = 0
        parse, write = Candidate.from_sdp, Candidate.to_sdp

        def from_sdp(text: str) -> Candidate:
            self.parsed += 1
            return parse(text)

        def to_sdp(candidate: Candidate) -> str:
            self.written += 1
            return write(candidate)

        monkeypatch.setattr(Candidate, "from_sdp", staticmethod(from_sdp))
        monkeypatch.setattr(Candidate, "to_sdp", to_sdp)


def test_a_candidate_is_parsed_once_on_its_way_in(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    candidate = RTCIceCandidate({"candidate": LINE, "sdpMid": "0"})
    assert candidate.to_ice() is candidate.to_ice()
    assert (candidate.ip, candidate.port, candidate.usernameFragment) == ("192.0.2.1", 9, "abcd")
    assert counted.parsed == 1


def test_a_candidate_is_written_once_on_its_way_out_and_never_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered = Candidate.from_sdp(LINE)
    counted = Counted(monkeypatch)
    candidate = RTCIceCandidate.from_ice(gathered, sdpMid="0", sdpMLineIndex=0)
    assert candidate.to_ice() is gathered
    assert candidate.toJSON() == candidate.toJSON()
    assert candidate.toJSON()["candidate"] == gathered.to_sdp()
    assert counted.parsed == 0
    assert counted.written == 2  # the second is the test's own


def test_a_candidate_of_aiortcs_fields_is_the_same_as_its_text() -> None:
    fields = RTCIceCandidate(
        1, "1", "192.0.2.1", 9, 2130706431, "udp", "host", sdpMid="0", usernameFragment="abcd"
    )
    assert fields.candidate == RTCIceCandidate({"candidate": LINE, "sdpMid": "0"}).to_ice().to_sdp()


def test_what_is_wrong_with_a_text_is_said_when_the_parsed_candidate_is_asked_for() -> None:
    candidate = RTCIceCandidate({"candidate": "candidate:1 1 udp not-a-number", "sdpMid": "0"})
    assert candidate.address is None
    with pytest.raises(peer.OperationError):
        candidate.to_ice()
