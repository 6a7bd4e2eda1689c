"""Dictionaries of the W3C whose members can be read and written as attributes."""

from __future__ import annotations

from typing import Any


class Members(dict[str, Any]):
    """A dictionary, as in WebIDL: members that are not there are not there, rather than None."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no member {name!r}; those there are: {', '.join(self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        self.pop(name, None)
