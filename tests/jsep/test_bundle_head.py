"""The section that owns a bundle's transport: what we write to keep it, and what we make of a peer that moves it."""

from __future__ import annotations

import pytest

from peer.jsep import bundle_head
from peer.jsep.effects import Bind, RenewDtls, RestartData, StartDtls
from tests.support.sessions import Side, negotiate


def pair(*kinds: str) -> tuple[Side, Side]:
    a, b = Side(1), Side(2)
    for kind in kinds:
        a.add(kind)
    negotiate(a, b)
    for side in (a, b):
        side.session.transports["T1"].handshaking = False
    return a, b


def stop_first(a: Side, b: Side) -> None:
    a.session.lines[0].stopping = True
    negotiate(a, b)


def bundle(side: Side) -> list[str]:
    assert side.session.local is not None
    return side.session.local.sdp.bundle


def test_the_tagged_section_stays_first_in_the_bundle_when_another_is_put_in_a_free_place_before_it() -> None:
    a, b = pair("audio", "video")
    stop_first(a, b)
    assert a.session.tag.mid == "1"
    a.add("audio")
    negotiate(a, b)
    assert [section.mid for section in a.session.local.sdp.media] == ["0", "1", "2"]  # type: ignore[union-attr]
    assert bundle(a) == ["1", "2"]


def test_without_a_bundle_to_keep_the_first_free_place_is_used() -> None:
    a, b = Side(1, bundle_policy="max-compat"), Side(2)
    a.add("audio")
    a.add("video")
    negotiate(a, b)
    stop_first(a, b)
    a.add("audio")
    negotiate(a, b)
    assert [section.mid for section in a.session.local.sdp.media] == ["2", "1"]  # type: ignore[union-attr]


def test_a_transport_planned_beside_others_has_their_credentials() -> None:
    a = Side(1, bundle_policy="max-compat")
    a.add("audio")
    a.add("video")
    a.offer()
    one, two = a.session.transports.values()
    assert one.local == two.local


def test_dtls_that_ends_after_the_tag_has_moved_is_secured_anew_in_the_answers_roles() -> None:
    a, b = pair("audio", "video")
    a.now = b.now = 100.0
    stop_first(a, b)
    assert a.did(RenewDtls) == []
    effects = bundle_head.closed(a.session, 100.0 + bundle_head.MOVED_SECONDS - 0.1)
    assert not isinstance(effects, str)
    assert [type(effect) for effect in effects] == [RenewDtls, Bind, StartDtls]
    assert effects[0] == RenewDtls("T1", path_before=True)
    assert effects[-1] == StartDtls("T1", b.session.settings.fingerprints, "server")


def test_dtls_that_ends_long_after_the_tag_has_moved_ends_the_call() -> None:
    a, b = pair("audio", "video")
    a.now = 100.0
    stop_first(a, b)
    assert bundle_head.closed(a.session, 100.0 + bundle_head.MOVED_SECONDS) == "over"


def test_dtls_that_ends_a_second_time_ends_the_call() -> None:
    a, b = pair("audio", "video")
    stop_first(a, b)
    assert bundle_head.closed(a.session, 0.1) not in ("over", "wait")
    assert bundle_head.closed(a.session, 0.2) == "over"


def test_dtls_that_ends_where_no_tag_has_moved_ends_the_call() -> None:
    a, b = pair("audio", "video")
    negotiate(a, b)
    assert bundle_head.closed(a.session, 0.0) == "over"


def test_while_a_pending_description_rejects_the_tagged_section_the_end_of_dtls_waits_for_the_answer() -> (
    None
):
    a, _ = pair("audio", "video")
    a.session.lines[0].stopping = True
    a.offer()
    assert bundle_head.closed(a.session, 0.0) == "wait"


@pytest.mark.parametrize("before", [True, False])
def test_a_handshake_that_the_move_cuts_short_begins_again_if_the_peer_has_done_so_before(
    before: bool,
) -> None:
    a, b = pair("audio", "video")
    a.session.transports["T1"].handshaking = True
    a.session.tag.peer_begins_again = before
    stop_first(a, b)
    assert len(a.did(RenewDtls)) == before


def test_a_handshake_that_the_move_cuts_short_begins_again_if_the_answer_turns_our_role() -> None:
    a, b = pair("audio", "video")
    a.session.transports["T1"].handshaking = True
    a.session.lines[0].stopping = True
    b.take("offer", a.offer())
    a.take("answer", b.answer().replace("a=setup:active", "a=setup:passive"))
    assert a.did(StartDtls) == [StartDtls("T1", b.session.settings.fingerprints, "client")]


def test_the_role_of_the_answer_that_moved_the_tag_stands_before_the_end_of_dtls_is_heard() -> None:
    a, b = pair("audio", "video")
    a.session.lines[0].stopping = True
    b.take("offer", a.offer())
    a.take("answer", b.answer().replace("a=setup:active", "a=setup:passive"))
    transport = a.session.transports["T1"]
    assert (transport.role, bundle_head.standing_role(a.session, transport)) == ("server", "client")


def test_channels_begin_anew_over_the_new_security_and_are_not_given_to_another_peer() -> None:
    a, b = Side(1), Side(2)
    a.add("video")
    a.add_data()
    negotiate(a, b)
    stop_first(a, b)
    effects = bundle_head.closed(a.session, 0.1)
    assert not isinstance(effects, str)
    assert [type(effect) for effect in effects] == [RenewDtls, RestartData, Bind, StartDtls]


@pytest.mark.parametrize(
    ("seconds", "explained"), [(0.0, True), (bundle_head.MOVED_SECONDS, False)], ids=["soon", "late"]
)
def test_what_ends_soon_after_the_tag_has_moved_is_about_to_begin_again(
    seconds: float, explained: bool
) -> None:
    a, b = pair("audio", "video")
    assert not bundle_head.explains_end(a.session, 0.0)
    stop_first(a, b)
    assert bundle_head.explains_end(a.session, seconds) is explained
