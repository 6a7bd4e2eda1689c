"""The numbers codecs and header extensions go by: payload types and extension ids, as long as a session lasts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpHeaderExtensionParameters

from peer.rtp.codecs import HEADER_EXTENSIONS, codec_key, copy_codec, is_rtx

# RFC 3551 §6 with RFC 5761 §4: 64 to 95 could be taken for RTCP.
_DYNAMIC: Final = (*range(96, 128), *range(35, 64))


@dataclass
class Numbers:
    """Payload types and extension ids in use by a session.

    Sections that share a transport may not use a number for two things (RFC 9143 §9.1, RFC 8843 §9.1.2), and no
    number may change its meaning during the session (RFC 3264 §8.3.2); so what either side once used stays.
    """

    payload_types: dict[int, tuple[object, ...]] = field(default_factory=dict)
    extensions: dict[int, str] = field(default_factory=dict)

    def copy(self) -> Numbers:
        """Return a copy that changes by itself."""
        return Numbers(dict(self.payload_types), dict(self.extensions))

    def learn(
        self,
        codecs: Iterable[RTCRtpCodecParameters],
        extensions: Iterable[RTCRtpHeaderExtensionParameters],
    ) -> None:
        """Remember what a description used."""
        known = {codec.payloadType: codec for codec in codecs}
        for number, codec in known.items():
            if number is not None:
                self.payload_types[number] = self._meaning(codec, known)
        for extension in extensions:
            self.extensions[extension.id] = extension.uri

    @staticmethod
    def _meaning(
        codec: RTCRtpCodecParameters, siblings: dict[int | None, RTCRtpCodecParameters]
    ) -> tuple[object, ...]:
        if is_rtx(codec):
            apt = codec.parameters.get("apt")
            base = siblings.get(apt) if isinstance(apt, int) else None
            return ("rtx", codec_key(base) if base is not None else apt)
        return codec_key(codec)

    def number_codecs(self, codecs: list[RTCRtpCodecParameters]) -> list[RTCRtpCodecParameters]:
        """Copies of the codecs, under numbers that clash with nothing in use."""
        siblings = {codec.payloadType: codec for codec in codecs}
        taken = dict(self.payload_types)
        renumbered: dict[int | None, int] = {}
        out = []
        for codec in sorted(codecs, key=is_rtx):
            meaning = self._meaning(codec, siblings)
            number = next(
                (n for n, m in taken.items() if m == meaning and n not in renumbered.values()), None
            )
            if number is None:
                wish = codec.payloadType
                free = (n for n in _DYNAMIC if n not in taken)
                number = wish if wish is not None and wish < 128 and wish not in taken else next(free, None)
            if number is None:
                continue  # all 61 numbers are taken: the codec is not offered
            renumbered[codec.payloadType] = number
            taken[number] = meaning
            numbered = copy_codec(codec)
            numbered.payloadType = number
            out.append((codecs.index(codec), numbered))
        for _, codec in out:
            apt = codec.parameters.get("apt")
            if is_rtx(codec) and isinstance(apt, int):
                codec.parameters["apt"] = renumbered[apt]
        return [codec for _, codec in sorted(out, key=lambda item: item[0])]

    def number_extensions(self, kind: str) -> list[RTCRtpHeaderExtensionParameters]:
        """The header extensions of a kind, under ids that clash with nothing in use."""
        taken = dict(self.extensions)
        out = []
        for extension in HEADER_EXTENSIONS[kind]:
            number = next((n for n, uri in taken.items() if uri == extension.uri), None)
            if number is None:
                free = (n for n in range(1, 15) if n not in taken)
                number = extension.id if extension.id not in taken else next(free, None)
            if number is not None:
                taken[number] = extension.uri
                out.append(RTCRtpHeaderExtensionParameters(id=number, uri=extension.uri))
        return out
