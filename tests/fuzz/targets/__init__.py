"""The targets: every module here has a `TARGET`, or several in `TARGETS`."""

from __future__ import annotations

import importlib
import pkgutil

from tests.fuzz.engine import Target


def targets() -> dict[str, Target]:
    """Return every target by its name."""
    found: dict[str, Target] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for target in getattr(loaded, "TARGETS", None) or [loaded.TARGET]:
            assert target.name not in found, f"two targets are called {target.name}"
            found[target.name] = target
    return found
