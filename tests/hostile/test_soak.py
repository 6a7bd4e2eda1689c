"""An honest call beside everything a hostile room can do, several at once, in real time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.attacks import ATTACKS
from tests.hostile.scene import Scene

pytestmark = pytest.mark.soak

SECONDS = 3
GAP = 0.1
"""Seconds beyond those of a quiet room. Other tests run beside this one, perhaps; each finding's own gap was longer."""
MEMORY = 50_000_000

GROUPS = {
    "data": ("sctp-malformed", "sctp-dear-chunks", "channel-flood", "message-without-end"),
    "media": ("ssrc-flood", "picture-bomb", "sequence-jumps", "rtcp-flood"),
    "signalling": ("offer-storm", "many-sections", "huge-descriptions", "candidate-storm", "chat-flood"),
    "strangers": ("joins", "pings", "half-open", "strangers-datagrams"),
}


def test_every_attack_is_in_a_group() -> None:
    grouped = [attack for group in GROUPS.values() for attack in group]
    assert sorted([*grouped, "nothing"]) == sorted(ATTACKS)


@pytest.mark.timeout(120)
async def test_an_honest_call_is_heard_beside_every_attack(tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        quiet = await scene.under("nothing", seconds=SECONDS)
        for attacks in GROUPS.values():
            found = await scene.under(*attacks, seconds=SECONDS)
            print(found)
            assert found.gap <= quiet.gap + GAP, found
            assert found.heard >= 0.9 * quiet.heard, found
            assert found.bot_memory < MEMORY, found
            assert found.relay_memory < MEMORY, found
