"""The client and relays that are not there, or say no."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from signaling import AppMessage, Offer, PeerJoined, PeerUpdated, RelayServer, SignalingClient, SignalingError


async def test_a_relay_that_is_not_there_is_said_so_within_the_open_timeout() -> None:
    client = SignalingClient("ws://127.0.0.1:9/ws", room="room", open_timeout=0.2)
    with pytest.raises(SignalingError, match=r"no connection to ws://127.0.0.1:9/ws within 0.2 s"):
        await client.__aenter__()


async def test_a_wrong_path_is_said_so_at_once(relay: RelayServer) -> None:
    client = SignalingClient(relay.url + "/nowhere", room="room")
    with pytest.raises(SignalingError, match=r"40[34]"):
        await client.__aenter__()


async def test_a_url_that_is_none_is_said_so_at_once() -> None:
    with pytest.raises(SignalingError, match="not a WebSocket URL"):
        await SignalingClient("http://example.invalid/ws", room="room").__aenter__()


@pytest.mark.parametrize("url", ["ws://localhost:99999/ws", "ws://localhost:port/ws", "ws://[::1/ws"])
async def test_a_url_that_cannot_be_connected_to_is_said_so_at_once(url: str) -> None:
    with pytest.raises(SignalingError, match=r"no connection to ws://\S+ can be made: \w+"):
        await SignalingClient(url, room="room").__aenter__()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"url": None}, "url must be text"),
        ({"room": None}, "room None is wrong: .*string"),
        ({"room": ""}, "room '' is wrong: .*at least 1 character"),
        ({"room": "x" * 129}, "room 'x+ is wrong: .*at most 128 characters"),
        ({"room": "two\nlines"}, "room .* is wrong"),
        ({"name": "x" * 129}, "name 'x+ is wrong"),
        ({"metadata": 5}, "metadata 5 is wrong"),
        ({"metadata": {"a": object()}}, "metadata must be JSON"),
        ({"token": 5}, "token must be text or a function"),
    ],
)
def test_what_no_relay_would_take_is_refused_when_the_client_is_made(
    wrong: dict[str, Any], error: str
) -> None:
    right: dict[str, Any] = {"url": "ws://localhost:8080/ws", "room": "room"}
    with pytest.raises((ValueError, TypeError), match=error):
        SignalingClient(**(right | wrong))


async def test_a_token_function_that_gives_no_text_is_named_as_the_cause(relay: RelayServer) -> None:
    client = SignalingClient(relay.url, room="room", token=lambda: 5, open_timeout=0.05)  # type: ignore[arg-type]
    with pytest.raises(SignalingError, match="no access token: the function for `token` returned int"):
        await client.__aenter__()


async def test_what_is_in_the_way_of_a_connection_is_named(relay: RelayServer) -> None:
    client = SignalingClient(relay.url, room="room", ssl=ssl.create_default_context())
    with pytest.raises(SignalingError, match="ssl argument is incompatible"):
        await client.__aenter__()


async def test_reading_before_joining_is_said_so() -> None:
    with pytest.raises(SignalingError, match="async with SignalingClient"):
        await anext(SignalingClient("ws://localhost:8080/ws", room="room"))


async def test_a_state_callback_that_raises_harms_nobody(
    relay: RelayServer, caplog: pytest.LogCaptureFixture
) -> None:
    def complain(state: str) -> None:
        raise RuntimeError(f"I do not like {state}")

    async with asyncio.timeout(20), SignalingClient(relay.url, room="room", on_state=complain) as client:
        await client.message("still here")
    assert [
        record.exc_info[1].args[0] for record in caplog.records if record.exc_info and record.exc_info[1]
    ] == [
        "I do not like joined",
        "I do not like closed",
    ]


async def test_a_message_larger_than_relays_read_is_refused_and_the_session_goes_on(
    relay: RelayServer,
) -> None:
    async with (
        SignalingClient(relay.url, room="room") as alice,
        SignalingClient(relay.url, room="room") as bob,
    ):
        for text in ("x" * 3_000_000, "\N{SNOWMAN}" * 400_000):
            with pytest.raises(ValueError, match="send it over a data channel"):
                await alice.message(text)
        await alice.message("small")
        assert isinstance(event := await anext(bob), AppMessage)
        assert event.data == "small"


async def test_what_is_no_message_is_refused_and_the_session_goes_on(relay: RelayServer) -> None:
    async with (
        SignalingClient(relay.url, room="room") as alice,
        SignalingClient(relay.url, room="room") as bob,
    ):
        with pytest.raises(TypeError, match=r"such as signaling.Offer\(…\), not dict"):
            await alice.send({"type": "offer"})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="serialize"):
            await alice.message(object())
        await alice.send(Offer(to=bob.id, sdp="v=0"))
        assert isinstance(event := await anext(bob), Offer)
        assert event.seq == 1


async def test_an_update_that_is_refused_leaves_name_and_metadata_as_they_were(relay: RelayServer) -> None:
    async with SignalingClient(relay.url, room="room", name="Ada") as alice:
        async with SignalingClient(relay.url, room="room") as bob:
            for wrong in ({"name": "x" * 200}, {"name": "Eve", "metadata": {"a": object()}}):
                with pytest.raises(ValueError, match=r"."):
                    await alice.update(**wrong)
            assert (alice.name, alice.metadata) == ("Ada", None)
            await alice.update(metadata={"hand": "raised"})
            assert isinstance(event := await anext(bob), PeerUpdated)
            assert (event.name, event.metadata) == ("Ada", {"hand": "raised"})
        assert isinstance(await anext(alice), PeerJoined)
