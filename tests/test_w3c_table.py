"""docs/pages/reference/w3c.md says what there is: what it calls supported, or different, exists, the rest does not."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import aiortc
import aiortc.rtcsctptransport
import pytest

import peer
import peer.connection.ice_transport as ice_transport
from peer.connection import states
from peer.connection.configuration import RTCBundlePolicy, RTCIceTransportPolicy, RTCRtcpMuxPolicy
from peer.connection.ice_candidate import RTCPeerConnectionIceErrorEvent
from peer.connection.session_description import SDP_TYPES
from peer.exceptions import RTCErrorDetail
from peer.ice.agent.events import AgentState
from peer.ice.candidate import CandidateType, TcpType, TransportProtocol
from peer.ice.servers import TurnServer
from peer.ice.transport import GatheringState, IceRole
from peer.jsep.state import TRANSITIONS
from peer.rtp.dtmf import RTCDTMFToneChangeEvent
from peer.rtp.encodings import initial_encodings
from peer.sdp.description import DIRECTIONS
from tests.simnet import in_virtual_time
from tests.support.corpus import connections
from tests.support.peer_pair import connected, negotiate, opened, trickle

TABLE = Path(__file__).parents[1] / "docs" / "pages" / "reference" / "w3c.md"
ROW = re.compile(r"\| `([^`]+)` \| (supported|differs|not yet) \| ?(.*?) ?\|")
PACKAGES = (Path(peer.__file__).parent, Path(inspect.getfile(peer.RTCStatsReport)).parent)


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """Chapter, section, member, state, note."""
    chapter = section = ""
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            chapter = line[3:]
        elif line.startswith("### "):
            section = line[4:]
        elif line.startswith("| `"):
            match = ROW.fullmatch(line)
            assert match is not None, line
            yield chapter, section, match[1], match[2], match[3]


ROWS = list(rows())


def wrong(chapter: str, section: str, exists: Any) -> list[str]:
    return [
        f"{section}.{member} is said to be {state}, and {'is there' if there else 'is not there'}"
        for c, s, member, state, _ in ROWS
        if (c, s) == (chapter, section)
        if (there := bool(exists(member))) != (state != "not yet")
    ]


def sections(chapter: str) -> list[str]:
    return list(dict.fromkeys(s for c, s, *_ in ROWS if c == chapter))


def has(thing: Any, member: str) -> bool:
    if isinstance(thing, Mapping):
        return member in thing or hasattr(type(thing), member)
    return hasattr(thing, member)


EMITTED = {
    name
    for package in PACKAGES
    for path in package.rglob("*.py")
    for name in re.findall(r'emit(?:_inline)?\(\s*"(\w+)"', path.read_text())
} | set(re.findall(r'"(mute|unmute|\w+change)"', (PACKAGES[0] / "rtp" / "media_stream.py").read_text()))


def test_every_row_can_be_read_and_what_differs_says_how() -> None:
    text = TABLE.read_text()
    assert len(ROWS) == text.count("\n| `")
    assert len(ROWS) > 400
    assert [
        f"{section}.{member}" for _, section, member, state, note in ROWS if state == "differs" and not note
    ] == []
    twice = [(section, member) for _, section, member, *_ in ROWS]
    assert len(twice) == len(set(twice))


@pytest.mark.slow
@in_virtual_time
async def test_the_interfaces_dictionaries_and_statistics_have_the_members_that_are_said() -> None:
    async with connections("max-bundle", "max-bundle") as (a, b):
        trickle(a, b)
        arrived: list[Any] = []
        b.on("trackevent", arrived.append)
        candidates: list[Any] = []
        a.on("icecandidate", candidates.append)
        tracks = [peer.AudioStreamTrack(), peer.VideoStreamTrack()]
        stream = peer.MediaStream()
        for track in tracks:
            a.addTrack(track, stream)
            b.addTrack(type(track)(), peer.MediaStream())
        channel = a.createDataChannel("x")
        await negotiate(a, b)
        await connected(a, b)
        await opened(channel)
        pictures = [asyncio.ensure_future(pc.getReceivers()[1].track.recv()) for pc in (a, b)]
        await asyncio.sleep(12)  # virtual seconds: by then both have reported
        await asyncio.gather(*pictures)
        audio = a.getTransceivers()[0]
        dtls = audio.sender.transport
        ice = dtls.iceTransport
        sent, received = audio.sender.getParameters(), audio.receiver.getParameters()
        capabilities = peer.RTCRtpSender.getCapabilities("audio")
        assert capabilities is not None
        error = peer.RTCError("", errorDetail="dtls-failure")
        things = {
            "RTCPeerConnection": a,
            "RTCSessionDescription": a.localDescription,
            "RTCIceCandidate": candidates[0],
            "RTCPeerConnectionIceErrorEvent": RTCPeerConnectionIceErrorEvent(None, None, "", 701, ""),
            "RTCTrackEvent": arrived[0],
            "RTCCertificate": peer.RTCCertificate.generateCertificate(),
            "RTCRtpSender": audio.sender,
            "RTCRtpReceiver": audio.receiver,
            "RTCRtpTransceiver": audio,
            "RTCDtlsTransport": dtls,
            "RTCIceTransport": ice,
            "RTCIceParameters": ice.getLocalParameters(),
            "RTCSctpTransport": a.sctp,
            "RTCDataChannel": channel,
            "RTCDTMFSender": audio.sender.dtmf,
            "RTCDTMFToneChangeEvent": RTCDTMFToneChangeEvent("1"),
            "RTCError": error,
            "RTCStatsReport": await a.getStats(),
            "MediaStream": stream,
            "MediaStreamTrack": arrived[0].track,
            "RTCConfiguration": a.getConfiguration(),
            "RTCIceServer": peer.RTCIceServer("stun:192.0.2.1"),
            "RTCRtpSendParameters": sent,
            "RTCRtpReceiveParameters": received,
            "RTCRtpCodecParameters": sent["codecs"][0],
            "RTCRtpHeaderExtensionParameters": sent["headerExtensions"][0],
            "RTCRtcpParameters": sent["rtcp"],
            "RTCRtpCapabilities": capabilities,
            "RTCRtpCodec": capabilities.codecs[0],
            "RTCRtpHeaderExtensionCapability": capabilities.headerExtensions[0],
            "RTCRtpContributingSource": peer.RTCRtpContributingSource,
            "RTCRtpSynchronizationSource": audio.receiver.getSynchronizationSources()[0],
            "RTCDtlsFingerprint": peer.RTCCertificate.generateCertificate().getFingerprints()[0],
            "RTCIceCandidatePair": ice.getSelectedCandidatePair(),
        }
        settled: dict[str, set[str]] = {}
        for pc in (a, b):
            for each in (await pc.getStats()).values():
                settled.setdefault(each["type"], set()).update(each)
        for pc in (a, b):
            for sender in pc.getSenders():
                sender.track.stop()

    problems: list[str] = []

    def exists(section: str, member: str) -> bool:
        if member.startswith("on") and member != "ontrackevent":
            return member[2:] in EMITTED
        if member == "message" and section == "RTCError":
            return True  # str(error)
        fields = getattr(things[section], "__dataclass_fields__", {})
        return member in fields or has(things[section], member)

    for section in things:
        chapter = "Dictionaries" if section in sections("Dictionaries") else "Interfaces and events"
        assert section in sections(chapter), section
        problems += wrong(chapter, section, lambda member, section=section: exists(section, member))
    for section in sections("Statistics"):
        problems += wrong(
            "Statistics", section, lambda member, section=section: _reported(settled, section, member)
        )
    looked_at = {*things, *INPUTS}
    assert set(sections("Interfaces and events")) | set(sections("Dictionaries")) == looked_at
    assert problems == []


def _reported(settled: Mapping[str, set[str]], kind: str, member: str) -> bool:
    if member in settled.get(kind, ()):
        return True
    if (kind, member) == ("outbound-rtp", "rid"):
        return '"rid"' in (PACKAGES[0] / "stats" / "rtp.py").read_text()  # of one encoding in several
    # Some depend on the network: what a server or a relay had part in.
    source = (PACKAGES[0] / "stats" / "collect.py").read_text()
    return (
        kind.endswith("-candidate")
        and f"{member}=" in source.partition("def _candidate(")[2].partition("def ")[0]
    )


INPUTS = {
    "RTCOfferOptions": inspect.getsource(peer.RTCPeerConnection.createOffer),
    "RTCRtpTransceiverInit": str(inspect.signature(peer.RTCPeerConnection.addTransceiver)),
    "RTCDataChannelInit": str(inspect.signature(peer.RTCPeerConnection.createDataChannel)),
    "RTCRtpEncodingParameters": "",
}


def test_the_dictionaries_that_are_handed_in_have_the_members_that_are_said() -> None:
    full = INPUTS["RTCOfferOptions"].replace(
        "offerToReceive{kind.capitalize()}", "offerToReceiveAudio offerToReceiveVideo"
    )
    sources = {**INPUTS, "RTCOfferOptions": full}
    problems = []
    for section, source in sources.items():
        if section != "RTCRtpEncodingParameters":
            problems += wrong(
                "Dictionaries", section, lambda m, source=source: re.search(rf"\b{m}\b", source)
            )
    known = inspect.getsource(inspect.getmodule(initial_encodings))  # type: ignore[arg-type]
    problems += wrong("Dictionaries", "RTCRtpEncodingParameters", lambda member: f'"{member}"' in known)
    assert problems == []


def test_the_enumerations_have_the_values_that_are_said() -> None:
    relay_protocol = TurnServer.__dict__["relay_protocol"].fget
    values: dict[str, set[str]] = {
        "RTCSdpType": set(SDP_TYPES),
        "RTCIceTransportPolicy": {each.value for each in RTCIceTransportPolicy},
        "RTCBundlePolicy": {each.value for each in RTCBundlePolicy},
        "RTCRtcpMuxPolicy": {each.value for each in RTCRtcpMuxPolicy},
        "RTCSignalingState": set(TRANSITIONS),
        "RTCIceGatheringState": set(get_args(states.IceGatheringState)),
        "RTCPeerConnectionState": set(get_args(states.ConnectionState)),
        "RTCIceConnectionState": set(get_args(states.IceConnectionState)),
        "RTCIceProtocol": set(get_args(TransportProtocol)),
        "RTCIceTcpCandidateType": set(get_args(TcpType)),
        "RTCIceCandidateType": set(get_args(CandidateType)),
        "RTCIceTransportState": set(get_args(AgentState)),
        "RTCIceGathererState": set(get_args(GatheringState)),
        "RTCIceRole": set(get_args(IceRole)),
        "RTCErrorDetailType": set(get_args(RTCErrorDetail)),
        "RTCRtpTransceiverDirection": {*DIRECTIONS, "stopped"},
        "RTCIceComponent": set(re.findall('"(rtp|rtcp)"', inspect.getsource(ice_transport))),
        "RTCDtlsTransportState": _quoted(peer.RTCDtlsTransport.state),
        "RTCSctpTransportState": _quoted(peer.RTCSctpTransport.state),
        "RTCDataChannelState": set(
            re.findall('"(connecting|open|closing|closed)"', inspect.getsource(aiortc.RTCDataChannel))
        )
        | set(re.findall(r'_setReadyState\("(\w+)"\)', inspect.getsource(aiortc.rtcsctptransport))),
        "RTCIceServerTransportProtocol": set(get_args(get_type_hints(relay_protocol)["return"])),
        "RTCPriorityType": _quoted(peer.RTCDataChannel.priority),
    }
    problems: list[str] = []
    assert set(values) == set(sections("Enumerations"))
    for section, known in values.items():
        problems += wrong("Enumerations", section, lambda value, known=known: value in known)
    assert problems == []


def _quoted(member: Any) -> set[str]:
    """The values a property's documentation names."""
    return set(re.findall(r'`"([\w-]+)"`', member.__doc__))
