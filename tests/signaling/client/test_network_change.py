"""Clients whose host changes networks: back at once, in as few round trips as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection

from signaling import AppMessage, Backoff, Offer, PeerJoined, Relay, SessionLost, Welcome
from signaling.client import connection as client_connection
from tests.signaling.client.test_outages import eventually
from tests.signaling.links import LinkedClient
from tests.signaling.settings import relay_settings

GONE = ("192.0.2.77", 4000)
PATIENT = Backoff(first=1000.0, longest=1000.0)


class Traveller(LinkedClient):
    """A client that waits for ever before the next attempt. `reachable`: whether attempts get anywhere."""

    def __init__(self, relay: Relay, **options: Any) -> None:
        super().__init__(lambda: relay, lambda direction: None, room="room", backoff=PATIENT, **options)
        self.reachable = True
        self.attempts = 0

    async def _open(self) -> ClientConnection:
        self.attempts += 1
        if not self.reachable:
            await asyncio.Event().wait()
        return await super()._open()

    def moved(self) -> None:
        """The host has another address, and the old connection is as good as dead."""
        assert self.link is not None
        self.link.local_address = GONE
        self.network_changed()


@pytest_asyncio.fixture
async def relay() -> AsyncIterator[Relay]:
    relay = Relay(relay_settings())
    yield relay
    await relay.stop()


async def test_a_connection_from_an_address_that_is_gone_is_made_anew_at_once(relay: Relay) -> None:
    async with Traveller(relay) as client:
        before = client.id
        client.moved()
        client.network_changed()  # as every peer connection of the process says so
        await eventually(lambda: client.links == 2 and client.state == "joined", "back")
        assert client.id == before


async def test_a_connection_that_has_kept_its_address_and_answers_is_kept(relay: Relay) -> None:
    async with Traveller(relay) as client, Traveller(relay) as other:
        assert isinstance(await anext(client), PeerJoined)
        client.network_changed()
        client.network_changed()
        await other.message("still there?")
        assert isinstance(await anext(client), AppMessage)
        assert client.links == 1


async def test_a_connection_that_has_kept_its_address_and_does_not_answer_is_made_anew(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "PROBE_TIMEOUT", 0.01)
    async with Traveller(relay) as client:
        assert client.link is not None
        client.link.answers_pings = False
        client.network_changed()
        await eventually(lambda: client.links == 2 and client.state == "joined", "back")


async def test_a_change_of_network_ends_the_wait_for_the_next_attempt(relay: Relay) -> None:
    async with Traveller(relay) as client:
        assert client.link is not None
        client.link.break_off()
        await eventually(lambda: client.state == "reconnecting", "an outage")
        client.network_changed()
        await eventually(lambda: client.state == "joined", "back")


async def test_an_attempt_that_began_before_the_change_begins_anew(relay: Relay) -> None:
    async with Traveller(relay) as client:
        client.reachable = False
        client.moved()
        await eventually(lambda: client.attempts == 2, "an attempt that gets nowhere")
        client.reachable = True
        client.network_changed()
        client.network_changed()
        await eventually(lambda: client.state == "joined", "back")
        assert client.attempts == 3


async def test_a_closed_client_does_not_mind(relay: Relay) -> None:
    async with Traveller(relay) as client:
        pass
    client.network_changed()
    assert client.state == "closed"


async def test_what_there_is_to_say_follows_a_resume_without_waiting_for_its_answer(relay: Relay) -> None:
    async with Traveller(relay) as alice, Traveller(relay) as bob:
        answers = asyncio.Event()
        open_link = bob._open

        async def open_deaf() -> ClientConnection:
            link = await open_link()
            hear = link.recv

            async def recv() -> Any:
                await answers.wait()
                return await hear()

            link.recv = recv  # type: ignore[method-assign,assignment]
            return link

        bob._reconnecting._open_socket = open_deaf
        bob.moved()
        for number in range(3):
            await bob.offer(alice.id, str(number))
        heard: list[str] = []
        while len(heard) < 3:
            event = await anext(alice)
            if isinstance(event, Offer):
                heard.append(event.sdp)
        assert heard == ["0", "1", "2"]
        assert bob.state == "reconnecting"
        answers.set()
        await eventually(lambda: bob.state == "joined", "back")
        await bob.offer(alice.id, "3")
        event = await anext(alice)
        assert isinstance(event, Offer)
        assert event.sdp == "3"


async def test_a_resume_that_fails_costs_what_followed_it_and_no_more() -> None:
    first, second = Relay(relay_settings()), Relay(relay_settings(max_message_bytes=2000))
    relays = [first]
    client = LinkedClient(lambda: relays[-1], lambda direction: None, room="room", backoff=PATIENT)
    async with client:
        relays.append(second)  # it has never heard of the session
        assert client.link is not None
        client.link.local_address = GONE
        client.network_changed()
        for number in range(30):
            await client.message("x" * 3000 if number == 5 else number)
        lost, welcome = await anext(client), await anext(client)
        assert isinstance(lost, SessionLost)
        assert len(lost.undelivered) == 30
        assert isinstance(welcome, Welcome)
        await client.message("and on it goes")
        await eventually(lambda: not client._reconnecting.session.outbox, "it is acknowledged")
        assert client.links == 2
    await first.stop()
    await second.stop()
