"""Negotiation held in the hand: two sessions, their descriptions, and no network, clock or event loop."""

from __future__ import annotations

import random
from typing import Any

from peer.jsep.apply import apply_local, apply_remote, plan_remote
from peer.jsep.describe import create_answer, create_offer
from peer.jsep.effects import Effect
from peer.jsep.implied import name_sections, share_transport
from peer.jsep.mline import MLine, Sending
from peer.jsep.session import Session
from peer.jsep.settings import Settings
from peer.jsep.validate import check_description, check_own
from peer.sdp.parser import parse_description


class Side:
    """One side: a session, and the effects of the last description."""

    def __init__(self, seed: int = 1, **settings: Any) -> None:
        digest = f"{seed:02X}" + ":00" * 31
        self.session = Session(Settings(fingerprints=(("sha-256", digest),), **settings), random.Random(seed))
        self.effects: list[Effect] = []
        self.now = 0.0

    def add(self, kind: str, direction: str = "sendrecv") -> MLine:
        """What `addTrack` adds."""
        line = self.session.add_line(kind, direction, "addTrack")
        line.used_by_track = True
        line.sending = Sending(
            f"track{line.key}", ("stream",), ssrc=1000 + line.key, rtx_ssrc=2000 + line.key
        )
        return line

    def add_data(self) -> None:
        """What `createDataChannel` adds."""
        self.session.data.wanted = True
        self.session.data.init = b"\x01" * 20

    def offer(self, **options: Any) -> str:
        """Create an offer and put it in force."""
        self.session.session_version += 1
        self.session.last_offer = str(create_offer(self.session, **options))
        return self._apply_own("offer", self.session.last_offer)

    def answer(self) -> str:
        """Create an answer and put it in force."""
        self.session.session_version += 1
        self.session.last_answer = str(create_answer(self.session))
        return self._apply_own("answer", self.session.last_answer)

    def take(self, kind: Any, text: str) -> list[Effect]:
        """Put the other side's description in force."""
        sdp = parse_description(text)
        name_sections(self.session, kind, sdp)
        share_transport(sdp)
        check_description(self.session, kind, sdp, local=False)
        plan = plan_remote(self.session, kind, sdp)
        self.effects = apply_remote(self.session, kind, sdp, plan, self.now, text)
        return self.effects

    def did(self, *kinds: type) -> list[Any]:
        """The last effects, of some kinds only."""
        return [effect for effect in self.effects if isinstance(effect, kinds)]

    def _apply_own(self, kind: Any, text: str) -> str:
        sdp = parse_description(text)
        check_own(self.session, kind, sdp)
        check_description(self.session, kind, sdp, local=True)
        self.effects = apply_local(self.session, kind, sdp, self.now)
        return text


def negotiate(offerer: Side, answerer: Side, **options: Any) -> None:
    """An offer, and its answer."""
    answerer.take("offer", offerer.offer(**options))
    offerer.take("answer", answerer.answer())
