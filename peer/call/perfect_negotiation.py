"""Perfect negotiation (W3C WebRTC 1.0 §10.7) for one peer connection, over messages as the relay carries them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from peer.connection.peer_connection import RTCPeerConnection
from peer.connection.session_description import RTCSessionDescription

__all__ = ["Negotiation", "origin_of", "session_of"]

logger = logging.getLogger(__name__)


class Negotiation:
    """Offers and answers for `pc`, one step at a time: await each before the next, in the order the messages came.

    `send` puts a message (`type`, `sdp`, `candidate` …, without `to`) on its way in order, and never blocks. In a
    collision of offers the polite side gives way. Because the steps do not overlap, the signalling state alone tells a
    collision; the W3C's flags for operations under way are not needed.
    """

    def __init__(
        self,
        pc: RTCPeerConnection,
        *,
        polite: bool,
        send: Callable[[dict[str, Any]], None],
        call: str | None = None,
    ) -> None:
        """`call` names the call that offers belong to."""
        self.pc = pc
        self.call = call
        self.polite = polite
        self.session: str | None = None
        """Session id of the remote's descriptions: the same as long as its peer connection lives (RFC 9429 §5.2.1)."""
        self._send = send
        self._ignoring_offer = False
        pc.on("icecandidate", self._trickle)

    async def offer(self) -> None:
        """What `negotiationneeded` asks for."""
        if self.pc.signalingState != "stable":
            return  # it is asked for again once that negotiation is done
        await self.pc.setLocalDescription()
        self._send_description()

    async def describe(self, kind: str, sdp: str, of: str | None = None, call: str | None = None) -> bool:
        """Apply the remote's offer or answer, and answer an offer. False when it is not for now and was ignored.

        `of` is the origin of the offer that an answer is for, and `call` the name of an offer's call, where the remote
        tells: whoever's offer is taken has named it. Raises as `setRemoteDescription`
        does, and then nothing has changed.
        """
        if kind == "answer":
            pending = self.pc.pendingLocalDescription
            if self.pc.signalingState != "have-local-offer" or pending is None:
                return False  # to an offer that was rolled back
            if of is not None and of != origin_of(pending.sdp):
                return False  # to an offer of a connection given up
        self._ignoring_offer = kind == "offer" and self.pc.signalingState != "stable" and not self.polite
        if self._ignoring_offer:
            return False
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type=kind))
        self.session = session_of(sdp)
        if kind == "offer":
            self.call = call or self.call
            await self.pc.setLocalDescription()
            self._send_description(of=origin_of(sdp))
        return True

    async def candidate(self, candidate: Mapping[str, Any] | None) -> None:
        """Add the remote's candidate (RTCIceCandidateInit), or None at their end. One that does not fit is ignored."""
        if self._ignoring_offer and not self._is_of_present(candidate):
            return
        try:
            await self.pc.addIceCandidate(candidate)
        except Exception as error:
            # Of a generation that is over, or of an unknown kind: never a reason to stop.
            logger.info("candidate %s not taken: %s", candidate, error)

    def _is_of_present(self, candidate: Mapping[str, Any] | None) -> bool:
        present = self.pc.remoteDescription
        fragment = candidate.get("usernameFragment") if candidate else None
        return (
            present is not None and isinstance(fragment, str) and f"a=ice-ufrag:{fragment}\r\n" in present.sdp
        )

    def _trickle(self, candidate: Any) -> None:
        if candidate is None:
            self._send({"type": "end-of-candidates"})
        else:
            self._send({"type": "ice-candidate", "candidate": candidate.toJSON()})

    def _send_description(self, of: str | None = None) -> None:
        description = self.pc.localDescription
        assert description is not None
        message = {"type": description.type, "sdp": description.sdp}
        if description.type == "offer" and self.call is not None:
            message["call"] = self.call
        if of is not None:
            message["of"] = of
        self._send(message)


def origin_of(sdp: str) -> str | None:
    """Session id and version of the `o=` line (RFC 8866 §5.2), which name one description of one connection."""
    found = re.search(r"^o=\S+ (\S+ \S+)", sdp, re.MULTILINE)
    return found[1] if found else None


def session_of(sdp: str) -> str | None:
    """Session id of the `o=` line."""
    origin = origin_of(sdp)
    return origin.split()[0] if origin else None
