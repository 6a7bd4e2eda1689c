"""Every clock an ICE agent runs by."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class IceTimings:
    """All in seconds, all positive; raises `ValueError` otherwise."""

    ta: float = 0.05
    """Between two ordinary checks (RFC 8445 §14.2); triggered checks do not wait for it."""
    burst_ta: float = 0.01
    """The same while checks have not used up what Ta allowed them. The pair that works is often not the very first,
    and a kilobyte in a tenth of a second congests nothing."""
    burst_checks: int = 10
    """How many checks may go out like that; 1 for none but Ta."""
    triggered_spacing: float = 0.005
    """Between any two checks (RFC 8445 §14.2: never below 5 ms)."""
    initial_rto: float = 0.25
    """Before a check is sent again while nothing is known of the round trip."""
    min_rto: float = 0.1
    max_rto: float = 1.6
    rto_growth: float = 1.5
    transmissions: int = 9
    """How often one check is sent before its pair fails: about nine seconds with the values above."""
    recheck_interval: float = 2.5
    """How long a failed pair rests before it is tried again, while there is no usable pair. Twice as long each time."""
    patience: float = 39.5
    """No failure earlier than this after checks started (RFC 8863 §4)."""
    hopeless_after: float = 60.0
    """No failure later than this after the last new candidate of either side, while no pair works: whatever there is
    left to check, and whether or not the peer has said that it has no more candidates."""
    consent_interval: float = 5.0
    """Between consent checks, times 0.8 to 1.2 at random (RFC 7675 §5.1)."""
    consent_timeout: float = 30.0
    """Consent ends this long after the last valid response (RFC 7675 §5.1)."""
    disconnected_after: float = 5.0
    """How much silence on the selected pair makes the state `disconnected`."""
    idle_silence: float = 2.0
    """How much silence on a pair without traffic makes it worth a probe."""
    busy_silence: float = 0.5
    """The same on a pair that traffic was arriving on."""
    moved_silence: float = 0.2
    """How much silence on a pair that traffic was arriving on is enough to leave it for one that has become valid
    since: the peer has probably moved there."""
    backup_interval: float = 12.0
    """Between checks of a valid pair that is not selected: short of the 15 s of RFC 8445 §11."""
    backup_pairs: int = 4
    """How many valid pairs are kept warm beside the selected one."""
    rtt_advantage: float = 0.01
    """How much shorter a round trip of the same tier must be to move to it."""
    rtt_damping: float = 5.0
    """How long a selected pair is kept before a shorter round trip alone may replace it."""
    answer_lifetime: float = 30.0
    """How long an answer to a check is still welcome."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            may_be_zero = field.name in ("patience", "backup_pairs")
            least_allowed = value >= 0 if may_be_zero else value > 0
            if not least_allowed:
                raise ValueError(f"ICE timing {field.name} must be positive, not {value!r}")
        if self.rto_growth < 1:
            raise ValueError(f"ICE timing rto_growth must be at least 1, not {self.rto_growth!r}")
