"""Bad input of every kind: a clear error, nothing forwarded, the connection kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signaling import MalformedMessage, RelayServer
from signaling.protocol.errors import ERROR_CODES
from signaling.protocol.frames import parse_client_message, to_json
from tests.signaling.figures import note
from tests.signaling.raw import RawPeer
from tests.signaling.settings import relay_settings

BAD_FRAMES: list[tuple[Any, str, str]] = [
    ("", "invalid-json", "one JSON object"),
    ("{", "invalid-json", "one JSON object"),
    ('{"type":"message","data":"\\ud800"}', "invalid-json", "one JSON object"),
    ("[" * 100_000, "invalid-json", "recursion"),
    ("[]", "unknown-type", "JSON object with a `type`"),
    ("null", "unknown-type", "JSON object with a `type`"),
    ({}, "unknown-type", "JSON object with a `type`"),
    ({"type": "offr", "to": "x", "sdp": "v=0"}, "unknown-type", "'offr'"),
    ({"type": 7}, "unknown-type", "'7'"),
    ({"type": "welcome", "id": "x"}, "unknown-type", "'welcome'"),
    ({"type": "offer", "sdp": "v=0"}, "invalid-message", "offer: `to` is wrong: Field required"),
    ({"type": "offer", "to": "x"}, "invalid-message", "offer: `sdp` is wrong: Field required"),
    ({"type": "offer", "to": 5, "sdp": "v=0"}, "invalid-message", "offer: `to` is wrong"),
    ({"type": "offer", "to": "x", "sdp": None}, "invalid-message", "offer: `sdp` is wrong"),
    (
        {"type": "ice-candidate", "to": "x", "candidate": "candidate:1"},
        "invalid-message",
        "`candidate` is wrong",
    ),
    ({"type": "ice-candidate", "to": "x"}, "invalid-message", "`candidate` is wrong"),
    ({"type": "end-of-candidates"}, "invalid-message", "`to` is wrong"),
    ({"type": "hangup"}, "invalid-message", "`to` is wrong"),
    ({"type": "message", "to": "", "data": 1}, "invalid-message", "`to` is wrong"),
    ({"type": "message", "to": "x" * 65, "data": 1}, "invalid-message", "`to` is wrong"),
    ({"type": "update", "metadata": [1]}, "invalid-message", "`metadata` is wrong"),
    ({"type": "offer", "to": "nobody", "sdp": "v=0"}, "unknown-peer", "'nobody'"),
    ({"type": "message", "to": "nobody"}, "unknown-peer", "'nobody'"),
    ({"type": "join", "room": "other", "name": "x"}, "already-joined", "second connection"),
    ({"type": "resume", "session": "a.b.c", "received": 0}, "already-joined", "second connection"),
    ({"type": "ack", "seq": 99}, "wrong-ack", "never sent"),
    ({"type": "ack", "seq": -1}, "invalid-message", "`seq` is wrong"),
    (b"\x00\x01", "not-text", "text frames"),
    ({"type": "message", "data": "x" * 300_000}, "too-large", "262144 bytes"),
    (json.dumps({"type": "message", "data": "€" * 100_000}, ensure_ascii=False), "too-large", "262144 bytes"),
]


@pytest.mark.parametrize(("frame", "code", "text"), BAD_FRAMES)
async def test_a_bad_frame_is_answered_by_its_error_and_the_connection_is_kept(
    relays: list[RelayServer], frame: Any, code: str, text: str
) -> None:
    async with RawPeer(relays[0].url) as alice, RawPeer(relays[-1].url) as bob:
        await alice.join()
        await bob.join()
        await bob.say(frame)
        error = await bob.hear_type("error")
        assert error["code"] == code
        assert text in error["message"]
        assert code in ERROR_CODES
        await bob.say({"type": "offer", "to": alice.id, "sdp": "v=0"})
        assert (await alice.hear())["type"] == "peer-joined"
        assert (await alice.hear()) == {"type": "offer", "from": bob.id, "to": alice.id, "sdp": "v=0"}
        note(
            "oversized frames" if code == "too-large" else "malformed or misplaced frames",
            tried=1,
            survived=1,
        )


async def test_bad_frames_of_a_numbered_session_use_up_their_numbers(relays: list[RelayServer]) -> None:
    async with RawPeer(relays[0].url) as alice, RawPeer(relays[-1].url) as bob:
        await alice.join()
        await bob.join(resumable=True)
        frames: list[dict[str, Any]] = [
            {"type": "nonsense", "seq": 1},
            {"type": "offer", "to": alice.id, "seq": 2},
            {"type": "offer", "to": "nobody", "sdp": "v=0", "seq": 3},
            {"type": "message", "data": "x" * 300_000, "seq": 4},
            {"type": "message", "data": "good", "seq": 5},
            {"type": "message", "data": "again", "seq": 5},
            {"type": "message", "data": "skipped", "seq": 9},
            {"type": "message", "data": "unnumbered"},
        ]
        for frame in frames:
            await bob.say(frame)
        errors = [await bob.hear_type("error") for _ in range(6)]
        assert {(error["code"], error.get("seq"), error.get("ref")) for error in errors} == {
            ("unknown-type", 1, 1),
            ("invalid-message", 2, 2),
            ("unknown-peer", 3, 3),
            ("too-large", 4, 4),
            ("sequence-gap", None, 9),
            ("missing-seq", None, None),
        }
        assert (await alice.hear())["type"] == "peer-joined"
        assert (await alice.hear())["data"] == "good"
        await bob.say({"type": "message", "data": "next", "seq": 6})
        assert (await alice.hear())["data"] == "next"


async def test_nothing_but_a_join_is_taken_before_a_join(relays: list[RelayServer]) -> None:
    async with RawPeer(relays[0].url) as peer:
        await peer.say({"type": "message", "data": 1})
        assert (await peer.hear())["code"] == "not-joined"
        await peer.say({"type": "resume", "session": "never.was.there", "received": 0})
        assert (await peer.hear())["code"] == "resume-failed"
        await peer.say({"type": "join", "room": ""})
        error = await peer.hear()
        assert (error["code"], "`room` is wrong" in error["message"]) == ("invalid-message", True)
        await peer.say({"type": "join", "room": "room", "metadata": {"x": "y" * 5000}})
        assert (await peer.hear())["code"] == "too-large"
        await peer.join()


async def test_a_connection_that_only_talks_nonsense_is_closed(relay: RelayServer) -> None:
    async with RawPeer(relay.url) as peer:
        for _ in range(10):
            await peer.say("nonsense")
        assert await peer.closed() == 4000


async def test_a_connection_that_never_joins_is_closed() -> None:
    async with RelayServer(relay_settings(join_timeout=0.05), port=0) as server, RawPeer(server.url) as peer:
        error = await peer.hear()
        assert (error["code"], error["message"]) == ("not-joined", "no join came in time")
        assert await peer.closed() == 4000


async def test_a_frame_beyond_the_transport_limit_closes_only_its_own_connection(relay: RelayServer) -> None:
    async with RawPeer(relay.url) as alice, RawPeer(relay.url) as bob:
        await alice.join()
        await bob.join()
        await bob.say("x" * 2_000_000)
        assert await bob.closed() == 1009
        assert (await alice.hear_type("peer-left"))["id"] == bob.id
        note("oversized frames", tried=1, survived=1)


async def test_a_forged_sender_is_replaced_under_every_spelling(relays: list[RelayServer]) -> None:
    async with RawPeer(relays[0].url) as alice, RawPeer(relays[-1].url) as bob:
        await alice.join()
        await bob.join()
        await alice.hear_type("peer-joined")
        forged = (
            f'{{"from":"{alice.id}","type":"message","from":"x","sender":"y","data":1,"from":"{alice.id}"}}'
        )
        await bob.say(forged)
        heard = await alice.hear()
        assert heard["from"] == bob.id
        await bob.say({"type": "offer", "from": alice.id, "to": alice.id, "sdp": "v=0", "seq": 77})
        heard = await alice.hear()
        assert heard == {"type": "offer", "from": bob.id, "to": alice.id, "sdp": "v=0"}
        note("forged senders", tried=2)


async def test_what_the_relay_need_not_know_travels_unchanged(relays: list[RelayServer]) -> None:
    async with RawPeer(relays[0].url) as alice, RawPeer(relays[-1].url) as bob:
        await alice.join()
        await bob.join()
        await alice.hear_type("peer-joined")
        data = {
            "n": None,
            "f": 1.5,
            "i": 2**53,
            "s": "\u2028 € \U0001f600 \\u0000 \x00",
            "l": [{}, [], ""],
            "b": False,
        }
        await bob.say({"type": "message", "to": alice.id, "data": data, "extra": {"deep": [None]}})
        heard = await alice.hear()
        assert heard == {
            "type": "message",
            "from": bob.id,
            "to": alice.id,
            "data": data,
            "extra": {"deep": [None]},
        }
        candidate = {
            "candidate": "",
            "sdpMid": "0",
            "sdpMLineIndex": 0,
            "usernameFragment": None,
            "future": [1],
        }
        await bob.say({"type": "ice-candidate", "to": alice.id, "candidate": candidate})
        assert (await alice.hear())["candidate"] == candidate


async def test_no_browser_is_sent_what_it_cannot_parse(relay: RelayServer) -> None:
    async with RawPeer(relay.url) as alice, RawPeer(relay.url) as bob:
        await alice.join()
        await bob.join()
        await alice.hear_type("peer-joined")
        await bob.say('{"type":"message","data":[NaN,1e999,{"x":-Infinity}]}')

        def refuse(constant: str) -> None:
            pytest.fail(f"{constant} is not JSON")

        heard = json.loads(await alice.ws.recv(), parse_constant=refuse)
        assert heard["data"] == [None, None, {"x": None}]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
types = st.sampled_from(
    [
        "join",
        "resume",
        "offer",
        "answer",
        "ice-candidate",
        "end-of-candidates",
        "hangup",
        "message",
        "update",
        "refresh",
        "leave",
        "ack",
        "welcome",
        "error",
        "",
    ]
)
fields = st.sampled_from(
    ["to", "from", "sdp", "candidate", "data", "room", "name", "seq", "session", "received", "token"]
)
objects = st.builds(
    lambda kind, rest: rest | {"type": kind}, types, st.dictionaries(fields, json_values, max_size=5)
)


@settings(suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(), st.binary(), objects.map(json.dumps)))
def test_any_frame_is_a_message_or_malformed(frame: str | bytes) -> None:
    malformed: MalformedMessage | None = None
    try:
        message = parse_client_message(frame)
    except MalformedMessage as error:
        malformed = error
    if malformed is None:
        assert parse_client_message(to_json(message)).type == message.type
    else:
        assert malformed.code in ("invalid-json", "unknown-type", "invalid-message")
        assert 0 < len(str(malformed)) < 500


@settings(suppress_health_check=list(HealthCheck))
@given(batch=st.lists(st.one_of(st.text(), st.binary(max_size=50), objects.map(json.dumps)), max_size=8))
async def test_a_relay_survives_any_sequence_of_frames(relay: RelayServer, batch: list[str | bytes]) -> None:
    async with RawPeer(relay.url) as alice, RawPeer(relay.url) as peer:
        await alice.join()
        await peer.join()
        for frame in batch:
            await peer.say(frame)
        await peer.ws.close()
        while (heard := await alice.hear())["type"] != "peer-left":
            assert heard["type"] in ("peer-joined", "peer-updated", "message", "offer", "answer", "hangup")
        assert heard["id"] == peer.id
    note("random frames", tried=len(batch), survived=len(batch))
