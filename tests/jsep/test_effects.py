"""What descriptions bring about, tried on sessions alone: values in, effects out."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from peer.exceptions import OperationError
from peer.ice.candidate import Candidate
from peer.jsep import trickle
from peer.jsep.apply import rollback
from peer.jsep.describe import create_offer
from peer.jsep.effects import (
    AddRemoteCandidate,
    AddToStream,
    AddTransceiver,
    Agree,
    AgreeDataRole,
    Bind,
    DiscardTransport,
    DropTransceiver,
    ForgetParameters,
    ForgetPeer,
    Gather,
    HideTransport,
    Mute,
    NotePaths,
    OpenData,
    OpenTransport,
    RefuseData,
    RemoveFromStream,
    RenewData,
    RenewDtls,
    SetDirection,
    SetEncodings,
    SetIceRole,
    StartDtls,
    StartIce,
    StopTransceiver,
    TellState,
    TellTrack,
    UndoGathering,
)
from peer.jsep.signalled import SignalledCandidate
from peer.rtp.codecs import capabilities
from peer.sdp.parser import parse_description
from tests.support.sessions import Side, negotiate

HOST = Candidate("1", 1, "udp", 2130706431, "203.0.113.9", 5000, "host")


def signalled(ufrag: str | None = None, candidate: Candidate | None = HOST) -> SignalledCandidate:
    return SignalledCandidate(candidate, "0", None, ufrag)


def test_a_first_offer_opens_a_transport_binds_its_line_and_gathers_as_controlling() -> None:
    a = Side()
    line = a.add("audio")
    a.offer()
    credentials = a.session.transports["T1"].local
    assert a.effects == [
        NotePaths(),
        OpenTransport("T1"),
        Bind(line.key, "T1"),
        SetIceRole("T1", "controlling"),
        Gather("T1", str(credentials.ufrag), str(credentials.pwd)),
        ForgetParameters(),
        TellState(True),
    ]


@pytest.mark.parametrize(
    ("addresses", "connection", "first"),
    [
        (["198.51.100.1", "2001:db8::1"], "0.0.0.0", True),
        (["2001:db8::1", "198.51.100.1"], "0.0.0.0", False),
        (["4a1b.local", "198.51.100.1"], "0.0.0.0", False),
        ([], "198.51.100.1", True),
        ([], "2001:db8::1", False),
        ([], "0.0.0.0", False),
        ([], "gateway.example", False),
    ],
)
def test_who_answers_gathers_the_ip_version_first_that_the_offer_prefers(
    addresses: list[str], connection: str, first: bool
) -> None:
    a, b = Side(), Side()
    a.add("audio")
    offer = parse_description(a.offer())
    offer.media[0].connection = connection
    offer.media[0].candidates = [
        replace(HOST, address=address, priority=HOST.priority - place)
        for place, address in enumerate(addresses)
    ]
    b.take("offer", str(offer))
    b.answer()
    assert [each.ipv4_first for each in b.did(Gather)] == [first]


def test_an_offer_that_is_only_created_has_no_effects_and_leaves_lines_without_mid() -> None:
    a = Side()
    line = a.add("audio")
    create_offer(a.session)
    assert (line.mid, a.session.bindings, a.session.stable) == (None, {}, None)
    assert not any(transport.opened for transport in a.session.transports.values())


def test_the_peers_offer_makes_a_transceiver_and_tells_of_its_track_after_the_state() -> None:
    a, b = Side(1), Side(2)
    a.add("video")
    b.take("offer", a.offer())
    assert b.did(AddTransceiver) == [AddTransceiver(1, "track1")]
    assert b.effects[-3:] == [TellState(True), AddToStream("stream", 1), TellTrack(1, ("stream",))]
    assert b.did(HideTransport) == [HideTransport(1, True)]
    assert b.did(SetIceRole) == [SetIceRole("T1", "controlled")]


def test_an_answer_starts_ice_and_then_dtls_in_opposite_roles() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    a.add_data()
    negotiate(a, b)
    for side, other, role in ((a, b, "server"), (b, a, "client")):
        their = other.session.transports["T1"].local
        ice, dtls = side.did(StartIce, StartDtls)
        assert ice == StartIce("T1", str(their.ufrag), str(their.pwd), False)
        assert (dtls.fingerprints, dtls.role) == (other.session.settings.fingerprints, role)
        assert side.did(AgreeDataRole) == [AgreeDataRole(role == "server")]
        assert side.session.signaling_state == "stable"
    assert b.did(HideTransport) == [HideTransport(1, False)]


def test_the_same_generator_makes_the_same_descriptions() -> None:
    def conversation() -> tuple[str, str]:
        a, b = Side(1), Side(2)
        a.add("audio")
        offer = a.offer()
        b.take("offer", offer)
        return offer, b.answer()

    assert conversation() == conversation()


def test_transports_that_a_bundling_answer_makes_superfluous_are_discarded() -> None:
    a, b = Side(1, bundle_policy="max-compat"), Side(2)
    a.add("audio")
    a.add("video")
    a.offer()
    assert a.did(OpenTransport) == [OpenTransport("T1"), OpenTransport("T2")]
    b.take("offer", str(a.session.local))
    a.take("answer", b.answer())
    assert a.did(DiscardTransport) == [DiscardTransport("T2")]
    assert set(a.session.bindings.values()) == {"T1"}


def test_a_rollback_is_the_difference_to_the_stable_state() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    negotiate(a, b)
    before = copy.deepcopy((b.session.lines, b.session.bindings, b.session.numbers, b.session.data))
    a.add("video")
    a.add_data()
    a.session.lines[0].direction = "inactive"
    b.take("offer", a.offer(ice_restart=True))
    assert b.session.lines[0].fired == "inactive"
    assert b.did(OpenData, RemoveFromStream) == [OpenData(), RemoveFromStream("stream", 1)]
    b.effects = rollback(b.session)
    assert b.did(SetDirection) == [SetDirection(1, "recvonly")]
    assert b.did(StopTransceiver, DropTransceiver) == [StopTransceiver(2), DropTransceiver(2)]
    assert b.did(TellState, TellTrack) == [TellState(True, rolled_back=True), TellTrack(1, ("stream",))]
    lines, bindings, numbers, data = before
    assert [vars(line) for line in b.session.lines] == [vars(line) for line in lines]
    assert (b.session.bindings, b.session.numbers, b.session.data.mid) == (bindings, numbers, data.mid)


def test_a_rolled_back_restart_takes_its_gathering_back() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    negotiate(a, b)
    credentials = a.session.transports["T1"].local
    a.offer(ice_restart=True)
    assert a.session.transports["T1"].local != credentials
    a.effects = rollback(a.session)
    assert a.did(UndoGathering) == [UndoGathering("T1")]
    assert a.session.transports["T1"].local == credentials


def test_a_rollback_of_the_first_offer_keeps_what_the_application_added() -> None:
    a = Side()
    line = a.add("audio")
    a.offer()
    a.effects = rollback(a.session)
    assert a.did(Bind, DiscardTransport) == [
        Bind(line.key, None),
        Bind(None, None),
        DiscardTransport("T1"),
    ]
    assert (a.session.lines, line.mid, line.bound) == ([line], None, False)


def test_another_certificate_renews_dtls_and_data_over_the_same_sections() -> None:
    a, b, c = Side(1), Side(2), Side(3)
    a.add_data()
    negotiate(a, b)
    c.take("offer", a.offer(ice_restart=True))
    a.take("answer", c.answer())
    kinds = [type(effect) for effect in a.did(RenewDtls, RenewData, StartIce, StartDtls)]
    assert kinds == [RenewDtls, RenewData, StartIce, StartDtls]
    assert a.did(StartDtls)[0].fingerprints == c.session.settings.fingerprints


def test_an_answer_of_another_peer_without_a_restart_begins_ice_afresh_under_our_credentials() -> None:
    a, b, c = Side(1), Side(2), Side(3)
    a.add("audio")
    negotiate(a, b)
    c.take("offer", a.offer())
    a.take("answer", c.answer())
    forgotten, gathered, started = a.did(ForgetPeer, Gather, StartIce)
    assert (forgotten, gathered.ufrag) == (ForgetPeer("T1"), a.session.transports["T1"].local.ufrag)
    assert started.ufrag == c.session.transports["T1"].local.ufrag


def test_a_rejected_section_stops_its_transceiver_and_refused_data_closes_the_channels() -> None:
    a, b = Side(1), Side(2)
    line = a.add("audio")
    a.add("video")
    a.add_data()
    b.take("offer", a.offer())
    b.session.lines[0].stopped = True
    b.session.data.mid = None
    a.take("answer", b.answer())
    assert a.did(StopTransceiver, DropTransceiver) == [
        StopTransceiver(line.key),
        DropTransceiver(line.key),
    ]
    assert a.did(RefuseData) == [RefuseData()]


def test_a_direction_without_receiving_mutes_the_track_after_the_state_has_been_told() -> None:
    a, b = Side(1), Side(2)
    line = a.add("audio")
    negotiate(a, b)
    line.direction = "inactive"
    b.take("offer", a.offer())
    assert b.effects[-3:] == [TellState(True), Mute(1), RemoveFromStream("stream", 1)]


def test_encodings_that_the_peer_proposes_are_used_and_given_back_by_a_rollback() -> None:
    a, b = Side(1), Side(2)
    line = b.add("video")
    line.encodings = [{"active": True}]
    a.add("video")
    simulcast = "a=rid:h recv\r\na=rid:l recv\r\na=simulcast:recv h;l\r\n"
    b.take("offer", a.offer() + simulcast)
    (proposed,) = b.did(SetEncodings)
    assert [each["rid"] for each in proposed.encodings] == ["h", "l"]
    b.effects = rollback(b.session)
    assert b.did(SetEncodings) == [SetEncodings(line.key, ({"active": True},))]


def test_a_candidate_waits_for_its_description_and_then_for_ice() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    assert trickle.add_remote(b.session, signalled()) == []
    assert trickle.add_remote(b.session, signalled("nobody's")) == []
    b.take("offer", a.offer())
    assert b.did(AddRemoteCandidate) == []
    b.answer()
    ufrag = a.session.transports["T1"].local.ufrag
    assert b.did(AddRemoteCandidate) == [AddRemoteCandidate("T1", HOST, ufrag)]
    assert str(b.session.remote).count("a=candidate") == 1


@pytest.mark.parametrize("restart", [False, True])
def test_a_description_that_does_not_trickle_is_all_there_will_be(restart: bool) -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    if restart:
        negotiate(a, b)
    offer = a.offer(ice_restart=True) if restart else a.offer()
    b.take("offer", offer.replace("a=ice-options:trickle", "a=ice-options:x"))
    b.answer()
    ufrag = a.session.transports["T1"].local.ufrag
    assert not b.session.can_trickle
    assert b.did(AddRemoteCandidate) == [AddRemoteCandidate("T1", None, ufrag)]


def test_a_candidate_of_a_restart_that_has_no_path_yet_still_finds_its_generation() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    negotiate(a, b)
    old = str(a.session.transports["T1"].local.ufrag)
    negotiate(a, b, ice_restart=True)
    with pytest.raises(OperationError, match="of another time"):
        trickle.add_remote(b.session, signalled(old))
    b.session.transports["T1"].peers = frozenset([old])
    assert trickle.add_remote(b.session, signalled(old)) == [AddRemoteCandidate("T1", HOST, old)]


def test_a_text_that_is_no_candidate_is_refused_in_a_section_that_is_there() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    b.take("offer", a.offer())
    wrong = SignalledCandidate(None, "0", None, None, error="not a candidate")
    with pytest.raises(OperationError, match="not a candidate"):
        trickle.add_remote(b.session, wrong)


def test_what_the_answer_leaves_of_the_codecs_is_what_both_sides_use() -> None:
    a, b = Side(1), Side(2)
    line = a.add("audio")
    b.take("offer", a.offer())
    theirs = b.session.lines[0]
    assert len(theirs.codecs) > 2
    theirs.preferred = [each for each in capabilities("audio").codecs if each.mimeType == "audio/PCMU"]
    a.take("answer", b.answer())
    for side, each in ((a, line), (b, theirs)):
        assert [codec.mimeType for codec in each.agreed_codecs] == ["audio/PCMU"]
        (agreed,) = side.did(Agree)
        assert {codec.mimeType for codec in agreed.sent} == {"audio/PCMU"}


def test_a_pending_offer_changes_nothing_of_what_is_agreed_on() -> None:
    a, b = Side(1), Side(2)
    a.add("audio")
    negotiate(a, b)
    line = b.session.lines[0]
    before = list(line.agreed_codecs), b.session.agreed
    fewer = "".join(each for each in a.offer().splitlines(keepends=True) if "opus" not in each)
    b.take("offer", fewer)
    assert len(line.codecs) < len(before[0])
    assert (line.agreed_codecs, b.session.agreed) == before


@pytest.mark.parametrize(("offered", "agreed"), [("recvonly", "recvonly"), ("sendonly", "sendonly")])
def test_an_answer_that_wants_more_than_was_offered_gets_what_was_offered(offered: str, agreed: str) -> None:
    """Some cameras answer sendrecv to everything."""
    a, b = Side(1), Side(2)
    line = a.add("video", offered)
    b.take("offer", a.offer())
    answer = b.answer()
    for direction in ("sendonly", "recvonly", "inactive"):
        answer = answer.replace(f"a={direction}", "a=sendrecv")
    a.take("answer", answer)
    assert (line.current, line.fired) == (agreed, agreed)
    assert bool(a.did(TellTrack)) == (offered == "recvonly")
