"""What a pipecat server says when it does not do what was asked."""

from __future__ import annotations

__all__ = ["PipecatError"]


class PipecatError(ConnectionError):
    """A call with a bot could not be made, or has failed. `status` is 0 where no HTTP answer says so."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        """HTTP status; 0 where there was none."""
        self.message = message
        """What happened, in the server's words where it gave some."""
        super().__init__(f"{status}: {message}" if status else message)
