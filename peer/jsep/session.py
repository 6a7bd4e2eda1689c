"""What offer and answer know of each other: descriptions, m-lines, transports and numbers, all of them values.

A `Session` holds no object of anybody's. The connection puts in what the application wants (on the m-lines) and what
it sees (on the transports), and hands in descriptions; it gets back `Effect`s to carry out, in order. So every rule of
RFC 9429 is a function of this folder, and can be tried without a network, a clock or an event loop.
"""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

from peer.sdp.description import MediaSection, SessionDescription

from .effects import Bind, DiscardTransport, Effect, NotePaths, OpenTransport
from .mline import DataLine, MLine, Origin
from .numbers import Numbers
from .settings import Settings
from .signalled import SignalledCandidate
from .state import SdpType, SignalingState
from .transport import Credentials, TransportState

_ICE_CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


@dataclass(eq=False)
class Description:
    """A description that has been set."""

    type: SdpType
    sdp: SessionDescription
    text: str | None = None
    """As it came, as long as nothing has been added to it."""

    def __str__(self) -> str:
        return self.text if self.text is not None else str(self.sdp)


@dataclass
class Tag:
    """The section that speaks for the bundle (RFC 9143 §7). `bundle_head` has the theory and all that changes it."""

    mid: str | None = None
    """The first mid of the bundle that was agreed on."""
    moved_at: float | None = None
    """When an answer put another section first, in the seconds that the answers come with."""
    peer_begins_again: bool = False
    """Whether the peer has been seen to begin security anew for another tagged section, as Chromium does."""


@dataclass
class Stable:
    """The session as it was in the last stable state: a rollback is the difference to it."""

    lines: dict[int, MLine]
    bindings: dict[str, str]
    numbers: Numbers
    data_mid: str | None
    transports: dict[str, tuple[Credentials, int]]
    """Local credentials, and how many generations had been gathered."""


@dataclass
class Session:
    """The state of one connection's negotiation."""

    settings: Settings = field(default_factory=Settings)
    rng: random.Random = field(default_factory=random.Random)
    """Where credentials and ids come from: a `SystemRandom`, outside of tests."""

    signaling_state: SignalingState = "stable"
    current_local: Description | None = None
    pending_local: Description | None = None
    current_remote: Description | None = None
    pending_remote: Description | None = None
    can_trickle: bool | None = None
    """Whether the peer takes candidates after its description; None before there is one."""
    last_offer: str | None = None
    last_answer: str | None = None
    offered: list[tuple[int | None, str | None]] = field(default_factory=list)
    """For each section of the last created offer its line and its transport: `setLocalDescription` associates them."""

    lines: list[MLine] = field(default_factory=list)
    data: DataLine = field(default_factory=DataLine)
    transports: dict[str, TransportState] = field(default_factory=dict)
    bindings: dict[str, str] = field(default_factory=dict)
    """Mid → id of the transport, of every section that has one."""
    numbers: Numbers = field(default_factory=Numbers)
    mids: set[str] = field(default_factory=set)
    """Every mid ever used: none is used again."""
    credentials_to_replace: set[Credentials] = field(default_factory=set)
    """The credentials that `restartIce` wants gone (W3C [[LocalIceCredentialsToReplace]])."""
    tag: Tag = field(default_factory=Tag)
    stable: Stable | None = None
    early_candidates: list[SignalledCandidate | None] = field(default_factory=list)
    """Those that wait for the description they belong to."""

    cname: str = ""
    session_id: int = 0
    session_version: int = 1
    default_remote_stream_id: str = ""
    _lines_made: int = 0
    _transports_made: int = 0

    def __post_init__(self) -> None:
        self.cname = self.cname or self.random_id()
        self.session_id = self.session_id or self.rng.getrandbits(62) + 1
        self.default_remote_stream_id = self.default_remote_stream_id or self.random_id()

    @property
    def local(self) -> Description | None:
        """The pending local description if there is one, else the current one."""
        return self.pending_local or self.current_local

    @property
    def remote(self) -> Description | None:
        """The pending remote description if there is one, else the current one."""
        return self.pending_remote or self.current_remote

    @property
    def all_gathered(self) -> bool:
        """Whether the local description has every candidate there will be, those of the last restart included."""
        return self.local is not None and all(
            transport.gathered[-1] in transport.complete
            for transport in self.transports.values()
            if transport.gathered
        )

    @property
    def peer_prefers_ipv4(self) -> bool:
        """Whether the peer's description, if there is one, prefers IPv4."""
        return self.remote is not None and self.remote.sdp.ipv4_first

    @property
    def agreed(self) -> tuple[Description | None, Description | None]:
        """Our description and the peer's that both sides have settled on, for now if one is a provisional answer.

        An offer that waits for its answer is none of them: the answer may still take everything out of it.
        """
        if self.signaling_state in ("have-local-pranswer", "have-remote-pranswer"):
            return self.pending_local, self.pending_remote
        return self.current_local, self.current_remote

    @property
    def answer(self) -> Description | None:
        """The answer that is in force."""
        for description in (self.current_local, self.current_remote):
            if description is not None and description.type == "answer":
                return description
        return None

    def random_id(self) -> str:
        """A random UUID."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def new_credentials(self) -> Credentials:
        """Fresh ones: 8 characters (48 bits) of username fragment, 24 (144 bits) of password (RFC 8445 §5.3)."""
        return Credentials(
            "".join(self.rng.choice(_ICE_CHARS) for _ in range(8)),
            "".join(self.rng.choice(_ICE_CHARS) for _ in range(24)),
        )

    def allocate_mid(self, taken: set[str]) -> str:
        """A mid that was never used, nor is among those taken."""
        number = 0
        while (mid := str(number)) in self.mids or mid in taken:
            number += 1
        return mid

    # Lines

    def add_line(self, kind: str, direction: str, origin: Origin) -> MLine:
        """A new line, which the next offer describes, or the offer that is being applied."""
        self._lines_made += 1
        line = MLine(self._lines_made, kind, origin, direction=direction)
        self.lines.append(line)
        return line

    def line(self, mid: str) -> MLine | None:
        """The line of a section, by its mid."""
        for line in self.lines:  # asked for every section: no generator
            if line.mid == mid:
                return line
        return None

    # Transports

    def create_transport(self) -> TransportState:
        """Plan one more transport. It is opened when a section is bound to it."""
        self._transports_made += 1
        transport = TransportState(f"T{self._transports_made}", self.new_credentials())
        self.transports[transport.id] = transport
        return transport

    def open(self, transport: TransportState) -> list[Effect]:
        """Have the transport, if it was only planned."""
        if transport.opened:
            return []
        transport.opened = True
        return [OpenTransport(transport.id)]

    def transport_of(self, mid: str | None) -> TransportState | None:
        """The transport a section goes over."""
        id = self.bindings.get(mid or "")
        return None if id is None else self.transports.get(id)

    def bind(self, mid: str, transport: TransportState) -> list[Effect]:
        """From now on the section goes over this transport."""
        effects = self.open(transport)
        self.bindings[mid] = transport.id
        if mid == self.data.mid:
            effects.append(Bind(None, transport.id))
        elif (line := self.line(mid)) is not None:
            line.bound = True
            effects.append(Bind(line.key, transport.id))
        return effects

    def unbind(self, mid: str) -> None:
        """The section goes over no transport any more: it has been rejected."""
        self.bindings.pop(mid, None)

    def discard_unused_transports(self) -> list[Effect]:
        """End what no section uses, now or after a rollback."""
        used = set(self.bindings.values())
        kept = self.stable.transports if self.stable is not None else {}
        effects: list[Effect] = []
        for transport in list(self.transports.values()):
            if transport.id not in used and transport.id not in kept:
                del self.transports[transport.id]
                if transport.opened:
                    effects.append(DiscardTransport(transport.id))
        return effects

    def tagged(self, sdp: SessionDescription) -> list[tuple[TransportState, MediaSection]]:
        """Each transport with the section that speaks for it."""
        found: dict[str, tuple[TransportState, MediaSection]] = {}
        for mid in [*sdp.bundle, *(section.mid for section in sdp.media)]:
            section = sdp.section(mid)
            transport = self.transport_of(mid)
            if section is not None and transport is not None and not section.rejected and section.ice_ufrag:
                found.setdefault(transport.id, (transport, section))
        return list(found.values())

    # Stable states

    def remember_stable(self) -> list[Effect]:
        """Call before anything of a new offer is applied."""
        self.stable = Stable(
            lines={line.key: line.kept() for line in self.lines},
            bindings=dict(self.bindings),
            numbers=self.numbers.copy(),
            data_mid=self.data.mid,
            transports={t.id: (t.local, len(t.gathered)) for t in self.transports.values()},
        )
        return [NotePaths()]
