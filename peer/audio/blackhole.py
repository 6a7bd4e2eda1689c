"""Somewhere to send what nobody wants to hear."""

from __future__ import annotations

from types import TracebackType

from aiortc.mediastreams import MediaStreamTrack

from .sink import AudioSink


class AudioBlackhole:
    """Hears a track and forgets it, counting: for tracks that must be played for something else to work.

    (A received track needs no blackhole: while nobody listens it is not even decoded.)
    """

    def __init__(self, track: MediaStreamTrack) -> None:
        self.seconds = 0.0
        """How much has been heard."""
        self.concealed_seconds = 0.0
        self._sink = AudioSink(track, 48000, 1)

    async def run(self) -> None:
        """Until the track ends."""
        async for chunk in self._sink:
            self.seconds += len(chunk.samples) / chunk.sample_rate
            self.concealed_seconds += len(chunk.samples) / chunk.sample_rate if chunk.concealed else 0.0

    def close(self) -> None:
        """Listen no more."""
        self._sink.close()

    async def __aenter__(self) -> AudioBlackhole:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
