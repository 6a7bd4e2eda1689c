"""The private names of aiortc that only audio stands on, checked when imported.

The rest is in `peer.aiortc_seams`.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

import aiortc
from aiortc.rtcrtpreceiver import StreamStatistics

from peer.aiortc_seams import PINNED, AiortcSeamError

_RECEIVER: Final = (
    "__rtcp_task",
    "__started",
    "__rtcp_started",
    "__rtcp_exited",
    "__lsr",
    "__remote_streams",
)
for _cls, _names in ((aiortc.RTCRtpReceiver, _RECEIVER),):
    try:
        _source = inspect.getsource(_cls)
    except OSError:
        continue  # installed without sources
    _missing = [name for name in _names if f"self.{name}" not in _source]
    if _missing:
        raise AiortcSeamError(
            f"aiortc {aiortc.__version__}: {_cls.__name__} lacks {', '.join(_missing)}, "
            f"which audio relies on: install aiortc {PINNED}.*"
        )


def stream_statistics(receiver: Any) -> dict[int, StreamStatistics]:
    """What receiver reports say of each SSRC (RFC 3550 §6.4.2)."""
    streams: dict[int, StreamStatistics] = receiver._RTCRtpReceiver__remote_streams
    return streams


def set_receiver_field(receiver: aiortc.RTCRtpReceiver, name: str, value: Any) -> None:
    setattr(receiver, f"_RTCRtpReceiver__{name}", value)
