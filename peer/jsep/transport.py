"""What negotiation knows of one transport: its credentials, its candidates, its roles, by its id."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from peer.ice.candidate import Candidate
from peer.sdp.description import MediaSection

from .effects import Effect, ForgetPeer, Gather, SetIceRole, StartIce, UndoGathering

IceRole: TypeAlias = Literal["controlling", "controlled"]
DtlsRole: TypeAlias = Literal["client", "server"]


@dataclass(frozen=True)
class Credentials:
    """A username fragment and a password of ICE, as they stand in a description."""

    ufrag: str | None
    pwd: str | None = field(repr=False)

    @classmethod
    def of(cls, section: MediaSection) -> Credentials:
        """The credentials a section gives."""
        return cls(section.ice_ufrag, section.ice_pwd)


@dataclass(eq=False)
class TransportState:
    """The values of one ICE transport and its DTLS."""

    id: str
    local: Credentials
    """What the last local description said, or the next one will."""
    opened: bool = False
    """Whether the transport exists; before that it is a plan of an offer."""
    restart_offer: Credentials | None = None
    """What the next offer that restarts ICE will say."""
    restart_answer: Credentials | None = None
    """What the answer to the pending offer will say, which restarts ICE."""
    gathered: list[str] = field(default_factory=list)
    """The username fragments that were gathered for and not rolled back."""
    candidates: dict[str, list[Candidate]] = field(default_factory=dict)
    """Local candidates by username fragment, in the order they came."""
    complete: set[str] = field(default_factory=set)
    """The username fragments whose gathering is done."""
    remote: Credentials | None = None
    """The peer's credentials ICE was last started with."""
    remote_lite: bool = False
    started_with: str | None = None
    """Our username fragment then."""
    has_role: bool = False
    """Whether a description has given it its ICE role (RFC 8445 §6.1.1: the first one does)."""
    role: DtlsRole | None = None
    """Our role in the DTLS association there is, or that is being made."""
    fingerprints: tuple[tuple[str, str], ...] = ()
    """The fingerprints of the peer that DTLS was started with."""

    # What the connection sees, brought up to date before each step

    has_path: bool = False
    """Whether ICE has, or had, a pair for what DTLS protects."""
    handshaking: bool = False
    """Whether DTLS has not come to an end of its handshake."""
    peers: frozenset[str] = frozenset()
    """The peer's username fragments that ICE still has a use for."""

    def local_candidates(self, ufrag: str | None) -> list[Candidate]:
        """The candidates gathered under a username fragment."""
        return self.candidates.get(ufrag or "", [])

    def take_role(self, role: IceRole) -> list[Effect]:
        """Once, from the first description (RFC 8445 §6.1.1); afterwards only ICE itself changes it."""
        if self.has_role:
            return []
        self.has_role = True
        return [SetIceRole(self.id, role)]

    def gather(self, credentials: Credentials, *, ipv4_first: bool) -> list[Effect]:
        """The description with these credentials is in force: gather for it. `ipv4_first`: as the peer prefers."""
        assert credentials.ufrag is not None
        if credentials.ufrag not in self.gathered:
            self.gathered.append(credentials.ufrag)
        self.local = credentials
        self.restart_offer = self.restart_answer = None
        return [Gather(self.id, credentials.ufrag, credentials.pwd or "", ipv4_first)]

    def roll_back(self, local: Credentials, generations: int) -> list[Effect]:
        """Forget what was gathered for descriptions that have been rolled back."""
        self.restart_offer = self.restart_answer = None
        self.local = local
        undone: list[Effect] = []
        while len(self.gathered) > generations:
            ufrag = self.gathered.pop()
            self._forget_candidates(ufrag)
            undone.append(UndoGathering(self.id))
        return undone

    def start(self, remote: Credentials, *, lite: bool) -> list[Effect]:
        """The peer's credentials are agreed on. Nothing is done when they are those in use."""
        if (self.remote, self.remote_lite) == (remote, lite):
            return []
        effects: list[Effect] = []
        if self.remote is not None and self.started_with == self.local.ufrag:
            # Another peer comes in the place of this one, and our credentials stay (RFC 8842 §5.5).
            self._forget_candidates(self.started_with or "")
            effects += [ForgetPeer(self.id), Gather(self.id, self.local.ufrag or "", self.local.pwd or "")]
        self.remote, self.remote_lite = remote, lite
        self.started_with = self.local.ufrag
        return [*effects, StartIce(self.id, remote.ufrag or "", remote.pwd or "", lite)]

    def restarts(self, section: MediaSection) -> bool:
        """Whether a description has other credentials than ICE was started with (RFC 8839 §4.4.1.1.1)."""
        return self.remote is not None and self.remote != Credentials.of(section)

    def is_other_peer(self, section: MediaSection) -> bool:
        """Whether a description is of a peer with another certificate than DTLS was started with."""
        if not self.fingerprints or not section.fingerprints:
            return False
        return not set(self.fingerprints) & set(section.fingerprints)

    def secure(self, fingerprints: tuple[tuple[str, str], ...], role: DtlsRole) -> bool:
        """Take the peer's fingerprints for a handshake in this role. False when there is one, or was."""
        if self.role is not None:
            return False
        self.role = role
        self.fingerprints = fingerprints
        return True

    def _forget_candidates(self, ufrag: str) -> None:
        self.candidates.pop(ufrag, None)
        self.complete.discard(ufrag)
