"""SDP fragments (RFC 8840 §9, RFC 9725 §4.3): what a PATCH carries. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["CONTENT_TYPE", "FragmentCandidate", "IceFragment", "credentials_of", "with_fragment"]

CONTENT_TYPE: Final = "application/trickle-ice-sdpfrag"

SIZE_MAX: Final = 65_536
"""Characters of a fragment; a hundred candidates are a tenth of this."""
CANDIDATES_MAX: Final = 100
"""Candidates read from one fragment; more are ignored."""

_ICE_CHARS: Final = re.compile(r"[A-Za-z0-9+/]+")


@dataclass(frozen=True)
class FragmentCandidate:
    """A candidate of a fragment: the text after `a=`, and the media section the candidate belongs to."""

    candidate: str
    mid: str | None = None


@dataclass(frozen=True)
class IceFragment:
    """ICE credentials, and the candidates that came to light since the last fragment."""

    ufrag: str | None = None
    pwd: str | None = None
    candidates: tuple[FragmentCandidate, ...] = ()
    end_of_candidates: bool = False

    @classmethod
    def parse(cls, text: str) -> IceFragment:
        """Read a fragment. Lines of no concern to ICE are ignored. Raises `ValueError` for what is no fragment."""
        if len(text) > SIZE_MAX:
            raise ValueError(f"a fragment may have at most {SIZE_MAX} characters, not {len(text)}")
        ufrag = pwd = mid = None
        candidates: list[FragmentCandidate] = []
        ended = False
        for line in filter(None, (line.strip() for line in re.split(r"\r\n|\n|\r", text))):
            if len(line) < 2 or line[1] != "=":
                raise ValueError(f"every line of a fragment is '<letter>=<value>', not {line[:60]!r}")
            kind, value = line[0], line[2:]
            if kind == "m":
                mid = None
            if kind != "a":
                continue
            name, _, rest = value.partition(":")
            if name == "ice-ufrag":
                ufrag = ufrag or _credential(rest, 4)
            elif name == "ice-pwd":
                pwd = pwd or _credential(rest, 22)
            elif name == "mid":
                mid = rest.strip()
            elif name == "candidate" and len(candidates) < CANDIDATES_MAX:
                candidates.append(FragmentCandidate(value, mid))
            elif name == "end-of-candidates":
                ended = True
        if ufrag is None and pwd is None and not candidates and not ended:
            raise ValueError("the fragment has neither ICE credentials nor candidates")
        return cls(ufrag, pwd, tuple(candidates), ended)

    def __str__(self) -> str:
        lines = []
        if self.ufrag is not None:
            lines.append(f"a=ice-ufrag:{self.ufrag}")
        if self.pwd is not None:
            lines.append(f"a=ice-pwd:{self.pwd}")
        if self.candidates or self.end_of_candidates:
            # The pseudo m-line names no real media: port, protocol and format are of no consequence (RFC 9725 §4.3.2).
            by_mid: dict[str | None, list[str]] = {}
            for each in self.candidates:
                by_mid.setdefault(each.mid, []).append(each.candidate)
            for mid, found in (by_mid or {"0": []}).items():
                lines.append("m=audio 9 UDP/TLS/RTP/SAVPF 0")
                lines.append(f"a=mid:{mid if mid is not None else '0'}")
                lines += [f"a={candidate}" for candidate in found]
                if self.end_of_candidates:
                    lines.append("a=end-of-candidates")
        return "".join(f"{line}\r\n" for line in lines)


def _credential(value: str, least: int) -> str:
    value = value.strip()
    if not least <= len(value) <= 256 or not _ICE_CHARS.fullmatch(value):
        raise ValueError(
            f"an ICE credential has {least} to 256 letters, digits, '+' or '/', not {value[:60]!r}"
        )
    return value


def credentials_of(sdp: str) -> tuple[str, str]:
    """Return the first ICE username fragment and password of a description. Raises `ValueError` without them."""
    ufrag = re.search(r"^a=ice-ufrag:(\S+)", sdp, re.MULTILINE)
    pwd = re.search(r"^a=ice-pwd:(\S+)", sdp, re.MULTILINE)
    if ufrag is None or pwd is None:
        raise ValueError("the description has no ICE credentials")
    return ufrag[1], pwd[1]


def fragment_of(sdp: str, *, most: int | None = None) -> IceFragment:
    """Return the credentials and candidates of a description as a fragment, of at most `most` candidates."""
    ufrag, pwd = credentials_of(sdp)
    found = tuple(
        FragmentCandidate(f"candidate:{match[1]}", "0")
        for match in re.finditer(r"^a=candidate:(.*?)\r?$", sdp, re.MULTILINE)
    )
    unique = tuple(dict.fromkeys(found))
    return IceFragment(ufrag, pwd, unique[:most], "a=end-of-candidates" in sdp)


def with_fragment(sdp: str, fragment: IceFragment) -> str:
    """Return a description as it would be after the ICE restart that a fragment tells of.

    Credentials are replaced in every section. Candidates are, too, unless the fragment has none: a server that names
    only new credentials (`simple-whip-server`) still has the addresses it had. The version in `o=` goes up by one.
    """
    given = [line for each in fragment.candidates if (line := f"a={each.candidate}")]
    lines: list[str] = []
    in_media = placed = False
    for line in (line for line in re.split(r"\r\n|\n|\r", sdp) if line):
        if line.startswith("o="):
            line = re.sub(r"^(o=\S+ \S+ )(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", line)
        if line.startswith("m="):
            if in_media and not placed:
                lines += given
                placed = True
            in_media = True
        if line.startswith("a=ice-ufrag:") and fragment.ufrag is not None:
            line = f"a=ice-ufrag:{fragment.ufrag}"
        elif line.startswith("a=ice-pwd:") and fragment.pwd is not None:
            line = f"a=ice-pwd:{fragment.pwd}"
        elif given and line.startswith(("a=candidate:", "a=end-of-candidates")):
            continue
        lines.append(line)
    if in_media and not placed:
        lines += given
    return "".join(f"{line}\r\n" for line in lines)
