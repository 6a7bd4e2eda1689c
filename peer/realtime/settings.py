"""A session's settings, and what a client may change of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["merged"]

FIXED: Final = frozenset({"id", "object", "type"})
NESTED: Final = frozenset({"audio", "input", "output"})


def merged(session: Mapping[str, Any], changes: Any) -> dict[str, Any]:
    """Return the settings with the changes of a `session.update`; `audio` is merged field by field.

    Raises `ValueError` where the changes are no JSON object, or `audio` is none.
    """
    if not isinstance(changes, Mapping):
        raise ValueError("session is a JSON object")
    result = dict(session)
    for name, value in changes.items():
        if name in FIXED:
            continue
        if name in NESTED and value is not None:
            if not isinstance(value, Mapping):
                raise ValueError(f"{name} is a JSON object")
            result[name] = merged(result.get(name) or {}, value)
        else:
            result[name] = value
    return result
