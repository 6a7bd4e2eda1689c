"""Play a file, a URL or a device as tracks."""

from __future__ import annotations

import weakref
from typing import Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from peer.aio.daemon_thread import run_in_daemon_thread
from peer.aio.emitter import GuardedHandlers

from .file_source import FileSource
from .playback import Playback

__all__ = ["MediaPlayer"]


class MediaPlayer:
    """Plays everything FFmpeg can read: files, URLs, cameras.

        player = await MediaPlayer.open("film.mp4", loop=True)
        pc.addTrack(player.video)

    Arguments, as in aiortc: `file` is a path, a URL, a device or a file-like object; `format` and `options` are
    FFmpeg's (`format="v4l2"`, `options={"video_size": "640x480"}`); `timeout` in seconds for opening and for each read,
    by default 30 for a URL and none for the rest; `loop` plays it again and again, without a gap; without `decode` the
    packets are sent as they are, which needs Opus or G.711, and VP8 or H.264 without B-frames, and the peer to have
    agreed on just that codec (`RTCRtpTransceiver.setCodecPreferences`).

    Sound is given as frames of 20 ms, 16-bit stereo at 48 kHz; pictures in the format of the file, stamped in
    1/90000 s. Both share one clock, that starts when the first of them is read; a reader that is more than a second
    late loses what is past.

    The constructor opens the file there and then: for whatever is not a local file, or in a program with other things
    to do, await `open`. Raises `OSError` or `ValueError` (`av.FFmpegError`) for what cannot be opened, `TimeoutError`
    for what does not answer, and `ValueError` for what holds nothing that can be played as asked.
    """

    def __init__(
        self,
        file: Any,
        format: str | None = None,
        options: dict[str, str] | None = None,
        timeout: float | None = None,
        loop: bool = False,
        decode: bool = True,
    ) -> None:
        self._begin(FileSource(file, format, options, timeout, loop, decode))

    @classmethod
    async def open(
        cls,
        file: Any,
        format: str | None = None,
        options: dict[str, str] | None = None,
        timeout: float | None = None,
        loop: bool = False,
        decode: bool = True,
    ) -> MediaPlayer:
        """Open a player without blocking the event loop. Arguments and errors are those of the constructor."""
        source = await run_in_daemon_thread(
            lambda: FileSource(file, format, options, timeout, loop, decode),
            name="media-player",
            abandoned=FileSource.close,
        )
        player = cls.__new__(cls)
        player._begin(source)
        return player

    def _begin(self, source: FileSource) -> None:
        self._name = source.name
        playback = self._playback = Playback(source)
        self._audio = PlayerTrack(self, playback, "audio") if "audio" in source.kinds else None
        self._video = PlayerTrack(self, playback, "video") if "video" in source.kinds else None
        # The thread knows the playback only: a player that nobody holds any more is closed.
        weakref.finalize(self, playback.stop).atexit = False

    @property
    def audio(self) -> MediaStreamTrack | None:
        """The track with the sound, or None where there is none."""
        return self._audio

    @property
    def video(self) -> MediaStreamTrack | None:
        """The track with the pictures, or None where there are none."""
        return self._video

    def stop(self) -> None:
        """End both tracks and close the file. Returns at once, whatever the source is doing."""
        for track in (self._audio, self._video):
            if track is not None:
                track.stop()

    def __repr__(self) -> str:
        return f"<MediaPlayer {self._name}>"


class PlayerTrack(GuardedHandlers, MediaStreamTrack):
    """The sound or the pictures of a player."""

    def __init__(self, player: MediaPlayer, playback: Playback, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._player = player
        self._playback = playback

    async def recv(self) -> Any:
        """Return the next frame, or packet where nothing is decoded, when its time has come.

        Raises `MediaStreamError` once the file has ended or the track was stopped.
        """
        if self.readyState != "live":
            raise MediaStreamError
        try:
            return await self._playback.take(self.kind)
        except MediaStreamError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the track; with its last track the player closes the file. Returns at once."""
        if self.readyState == "live":
            super().stop()
            self._playback.leave(self.kind)
