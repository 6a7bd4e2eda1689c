"""A candidate as the application hands it in, for a section of the remote description."""

from __future__ import annotations

from dataclasses import dataclass

from peer.exceptions import OperationError
from peer.ice.candidate import Candidate


@dataclass(frozen=True)
class SignalledCandidate:
    """A candidate of the peer's, or with neither `candidate` nor `error` the end of a section's candidates."""

    candidate: Candidate | None
    mid: str | None
    index: int | None
    ufrag: str | None
    error: str | None = None
    """What is wrong with the candidate's text, if it is not one."""

    @property
    def is_end(self) -> bool:
        """True where it says that no more candidates come."""
        return self.candidate is None and self.error is None

    def parsed(self) -> Candidate:
        """The candidate. Raises `OperationError` for a text that is none."""
        if self.candidate is None:
            raise OperationError(self.error or "there is no candidate")
        return self.candidate
