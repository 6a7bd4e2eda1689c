"""Pipecat's routes, as any HTTP client finds them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from peer import RTCIceCandidate, RTCPeerConnection
from peer.pipecat import BotSession, PipecatEndpoints
from peer.pipecat.rtvi import RtviMessage, parse_message
from tests.support.web import served


async def silent(session: BotSession) -> None:
    await session.closed()


@pytest_asyncio.fixture
async def endpoints() -> AsyncIterator[PipecatEndpoints]:
    endpoints = PipecatEndpoints(
        silent,
        authorize=lambda request: request.headers.get("authorization") != "Bearer wrong",
        ice_servers=[{"urls": "stun:stun.example:3478"}],
    )
    yield endpoints
    await endpoints.close()


@pytest_asyncio.fixture
async def http(endpoints: PipecatEndpoints) -> AsyncIterator[httpx.AsyncClient]:
    async with served(endpoints.routes) as url, httpx.AsyncClient(base_url=url) as http:
        yield http


@pytest_asyncio.fixture
async def pc() -> AsyncIterator[RTCPeerConnection]:
    pc = RTCPeerConnection()
    pc.addTransceiver("audio")
    pc.createDataChannel("chat")
    yield pc
    await pc.close()


async def offered(pc: RTCPeerConnection, **more: object) -> dict[str, object]:
    """Return the body of an offer without candidates."""
    await pc.setLocalDescription(await pc.createOffer())
    assert pc.localDescription is not None
    lines = pc.localDescription.sdp.splitlines(keepends=True)
    sdp = "".join(line for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates")))
    return {"sdp": sdp, "type": "offer", "pc_id": None, **more}


async def test_start_promises_a_session_and_names_the_servers(http: httpx.AsyncClient) -> None:
    started = (await http.post("/start", json={"body": {"a": 1}})).json()
    assert started["iceConfig"] == {"iceServers": [{"urls": "stun:stun.example:3478"}]}
    assert len(started["sessionId"]) == 36
    assert (await http.post("/start", content=b"no json")).status_code == 200


async def test_a_transport_that_is_not_served_is_refused(http: httpx.AsyncClient) -> None:
    refused = await http.post("/start", json={"transport": "daily"})
    assert refused.status_code == 400
    assert "'daily'" in refused.json()["detail"]


async def test_who_is_not_authorized_gets_nothing(http: httpx.AsyncClient, pc: RTCPeerConnection) -> None:
    headers = {"Authorization": "Bearer wrong"}
    assert (await http.post("/start", headers=headers)).status_code == 401
    assert (await http.post("/api/offer", json=await offered(pc), headers=headers)).status_code == 401


async def test_an_offer_of_a_session_has_the_data_given_at_the_start(
    http: httpx.AsyncClient, endpoints: PipecatEndpoints, pc: RTCPeerConnection
) -> None:
    started = (await http.post("/start", json={"body": {"a": 1}})).json()
    answer = (await http.post(f"/sessions/{started['sessionId']}/api/offer", json=await offered(pc))).json()
    assert answer["type"] == "answer"
    assert "a=candidate" in answer["sdp"]
    assert endpoints.sessions[answer["pc_id"]].data == {"a": 1}


async def test_a_session_nobody_started_is_not_there(http: httpx.AsyncClient, pc: RTCPeerConnection) -> None:
    refused = await http.post("/sessions/none/api/offer", json=await offered(pc))
    assert (refused.status_code, refused.text) == (404, "Invalid or not-yet-ready session_id")


async def test_candidates_that_come_later_connect(
    http: httpx.AsyncClient, endpoints: PipecatEndpoints, pc: RTCPeerConnection
) -> None:
    gathered: list[dict[str, object]] = []

    def found(candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            place = {"sdp_mid": candidate.sdpMid, "sdp_mline_index": candidate.sdpMLineIndex}
            gathered.append({"candidate": candidate.candidate, **place})

    pc.on("icecandidate", found)
    answer = (await http.post("/api/offer", json=await offered(pc))).json()
    # The answer's candidates are kept back: only ours can lead to a path.
    sdp = "".join(
        line for line in answer["sdp"].splitlines(keepends=True) if not line.startswith("a=candidate")
    )
    await pc.setRemoteDescription({"type": "answer", "sdp": sdp})
    await pc.gathering_complete()
    gathered.append({"candidate": "", "sdp_mid": "0", "sdp_mline_index": 0})
    patched = await http.patch("/api/offer", json={"pc_id": answer["pc_id"], "candidates": gathered})
    assert patched.json() == {"status": "success"}
    async with asyncio.timeout(10):
        while endpoints.sessions[answer["pc_id"]].pc.connectionState != "connected":
            await asyncio.sleep(0.01)


async def test_candidates_for_nobody_are_refused(http: httpx.AsyncClient) -> None:
    refused = await http.patch("/api/offer", json={"pc_id": "x", "candidates": []})
    assert (refused.status_code, refused.json()) == (404, {"detail": "Peer connection not found"})


@pytest.mark.parametrize("body", [b"", b"[]", b'{"sdp": "v=0"}', b'{"sdp": 3, "type": "offer"}', b"\xff"])
async def test_a_body_of_the_wrong_shape_is_answered_422(http: httpx.AsyncClient, body: bytes) -> None:
    refused = await http.post("/api/offer", content=body)
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["msg"]


async def test_an_offer_that_is_none_leaves_no_session(
    http: httpx.AsyncClient, endpoints: PipecatEndpoints
) -> None:
    refused = await http.post("/api/offer", json={"sdp": "v=0", "type": "offer"})
    assert refused.status_code == 400
    assert not endpoints.sessions


async def test_a_restart_whose_offer_is_none_leaves_the_connection_as_it_was(
    http: httpx.AsyncClient, endpoints: PipecatEndpoints, pc: RTCPeerConnection
) -> None:
    pc_id = (await http.post("/api/offer", json=await offered(pc))).json()["pc_id"]
    body = {"sdp": "v=0", "type": "offer", "pc_id": pc_id, "restart_pc": True}
    assert (await http.post("/api/offer", json=body)).status_code == 400
    assert endpoints.sessions[pc_id].pc.connectionState != "closed"


@pytest.mark.parametrize(
    "text", ["ping: 17", "[]", "3", '{"label": "rtvi-ai"}', '{"type": "x"}', "[" * 100_000]
)
def test_what_is_no_message_is_none(text: str) -> None:
    assert parse_message(text) is None


def test_messages_are_told_from_signalling() -> None:
    assert parse_message('{"label":"rtvi-ai","type":"a","id":"1"}') == RtviMessage(type="a", id="1")
    told = parse_message('{"type":"signalling","message":{"type":"trackStatus"}}')
    assert told == {"type": "trackStatus"}
