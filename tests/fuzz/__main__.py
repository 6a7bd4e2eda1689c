"""`python -m tests.fuzz [--seconds N] [--seed S] [target …]`: fuzz for as long as one likes, each target in turn."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time

from tests.fuzz.engine import Failure, Fuzzer, remember
from tests.fuzz.targets import targets


def main() -> int:
    known = targets()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, help="of the inputs (default: another each time)")
    parser.add_argument("target", nargs="*", help=f"all of them, or some of {', '.join(sorted(known))}")
    options = parser.parse_args()
    if unknown := set(options.target) - set(known):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    logging.disable(logging.CRITICAL)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    failures = 0
    for name in options.target or sorted(known):
        fuzzer = Fuzzer(known[name], seed)
        began = time.monotonic()
        try:
            asyncio.run(_fuzz(fuzzer, began + options.seconds))
        except Failure as failure:
            failures += 1
            print(f"FAILED {failure}\n  kept as {remember(known[name], failure.data)} (seed {seed})")
        else:
            rate = fuzzer.tried / (time.monotonic() - began)
            print(f"{name}: {fuzzer.tried} inputs, {rate:.0f}/s, none failed (seed {seed})")
    return 1 if failures else 0


async def _fuzz(fuzzer: Fuzzer, until: float) -> None:
    await fuzzer.corpus()
    await fuzzer.inputs(until=until)


if __name__ == "__main__":
    sys.exit(main())
