"""Descriptions damaged on the way: applied or refused, and a refusal changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import peer
from peer.sdp.parser import parse_description
from tests.simnet import in_virtual_time
from tests.support.corpus import connection, described, names, snapshot, text

REFUSALS = (peer.InvalidAccessError, peer.InvalidStateError, peer.OperationError)
GOOD = text("offers", "chromium")
OFFERS = {name: text("offers", name) for name in names("offers")}
ANSWERS = {name: text("answers", name) for name in names("answers")}
NUISANCES = [
    "",
    "0",
    "-1",
    "65536",
    "99999999999999999999",
    "\u00fc",
    "\x00",
    " ",
    ":",
    "a=",
    "m=",
    "x" * 300,
]


@st.composite
def damaged(draw: st.DrawFn, originals: dict[str, str]) -> str:
    """One of the originals after a few accidents."""
    lines = originals[draw(st.sampled_from(sorted(originals)))].split("\r\n")[:-1]
    for _ in range(draw(st.integers(1, 4))):
        accident = draw(
            st.sampled_from(("drop", "double", "swap", "cut", "replace", "word", "splice", "moved"))
        )
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        if accident == "drop" and len(lines) > 1:
            del lines[at]
        elif accident == "double":
            lines.insert(draw(st.integers(0, len(lines))), line)
        elif accident == "swap":
            other = draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], line
        elif accident == "cut":
            lines[at] = line[: draw(st.integers(0, len(line)))]
        elif accident == "replace" and line:
            where = draw(st.integers(0, len(line) - 1))
            lines[at] = line[:where] + draw(st.characters(codec="utf-8")) + line[where + 1 :]
        elif accident == "word":
            words = line.split(" ")
            words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(NUISANCES))
            lines[at] = " ".join(words)
        elif accident == "splice":
            foreign = originals[draw(st.sampled_from(sorted(originals)))].split("\r\n")[:-1]
            begin = draw(st.integers(0, len(foreign) - 1))
            lines[at:at] = foreign[begin : begin + draw(st.integers(1, 12))]
        elif accident == "moved":
            del lines[at]
            lines.insert(draw(st.integers(0, len(lines))), line)
    return "".join(f"{line}\r\n" for line in lines)


@given(damaged(OFFERS | ANSWERS))
def test_what_parses_is_the_same_when_written_and_parsed_again(sdp: str) -> None:
    wrong = None
    try:
        parsed = parse_description(sdp)
    except peer.SdpSyntaxError as error:
        wrong = error.sdpLineNumber
    if wrong is not None:
        assert 1 <= wrong <= len(re.split("\r\n|\r|\n", sdp))
        return
    assert parse_description(str(parsed)) == parsed


@given(st.text(max_size=400) | st.text(alphabet="vosctma=: \r\n0123456789audio/", max_size=400))
def test_any_text_parses_or_is_a_syntax_error(sdp: str) -> None:
    with contextlib.suppress(peer.SdpSyntaxError):
        parse_description(sdp)


async def _offered(sdp: str, prepared: str) -> None:
    async with connection() as pc:
        if prepared != "fresh":
            pc.addTransceiver("video")
            pc.addTransceiver("audio", direction="sendonly")
        if prepared == "offering":
            pc.createDataChannel("x")
            await pc.setLocalDescription()
            await asyncio.sleep(1)
        if prepared == "agreed":
            await pc.setRemoteDescription(described("offer", GOOD))
            await pc.setLocalDescription()
            await asyncio.sleep(1)
        before = snapshot(pc)
        try:
            await pc.setRemoteDescription(described("offer", sdp))
        except REFUSALS:
            assert snapshot(pc) == before
            sdp = GOOD  # and the connection is as good as before
            await pc.setRemoteDescription(described("offer", sdp))
        await _answered(pc, sdp)


async def _answered(pc: Any, sdp: str) -> None:
    await pc.setLocalDescription()
    assert pc.signalingState == "stable"
    offer = parse_description(sdp)
    answer = parse_description(pc.localDescription.sdp)
    assert [(s.kind, s.mid, s.protocol) for s in answer.media] == [
        (s.kind, s.mid, s.protocol) for s in offer.media
    ]
    for theirs, ours in zip(offer.media, answer.media, strict=True):
        assert not theirs.rejected or ours.rejected
        if ours.is_media and not ours.rejected:
            assert set(ours.formats) <= set(theirs.formats)


@given(damaged(OFFERS), st.sampled_from(("fresh", "prepared", "offering", "agreed")))
def test_a_damaged_offer_is_answered_or_changes_nothing(sdp: str, prepared: str) -> None:
    in_virtual_time(_offered)(sdp, prepared)


@pytest.mark.parametrize("prepared", ["fresh", "prepared", "offering", "agreed"])
@pytest.mark.parametrize("name", ["chromium", "legacy_data"])
def test_a_section_of_a_protocol_that_is_none_is_rejected_in_that_protocol(name: str, prepared: str) -> None:
    sdp = re.sub(r"(m=application \d+ )\w", r"\g<1>0", OFFERS[name])
    in_virtual_time(_offered)(sdp, prepared)


async def _answer_arrives(sdp: str) -> None:
    async with connection() as pc:
        pc.addTransceiver("audio")
        pc.addTransceiver("video")
        pc.createDataChannel("x")
        await pc.setLocalDescription()
        await asyncio.sleep(1)
        before = snapshot(pc)
        try:
            await pc.setRemoteDescription(described("answer", sdp))
        except REFUSALS:
            assert snapshot(pc) == before
            await pc.setRemoteDescription(described("answer", text("answers", "chromium")))
        assert pc.signalingState == "stable"
        assert parse_description((await pc.createOffer()).sdp).media


@given(damaged(ANSWERS))
def test_a_damaged_answer_is_applied_or_changes_nothing(sdp: str) -> None:
    in_virtual_time(_answer_arrives)(sdp)
