"""`python -m tests.fuzz [--seconds N | --inputs N] [--seed S] [target …]`: fuzz for as long as one likes."""

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
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60, help="for each target (default: 60)")
    length.add_argument("--inputs", type=int, help="for each target, however long they take")
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
            asyncio.run(_fuzz(fuzzer, options.inputs, began + options.seconds))
        except Failure as failure:
            failures += 1
            kept = remember(known[name], failure.data)
            print(
                f"FAILED after {fuzzer.tried} inputs: {failure}\n  kept as {kept} (seed {seed})", flush=True
            )
        else:
            rate = fuzzer.tried / (time.monotonic() - began)
            parts = "" if fuzzer.parts == fuzzer.tried else f" of {fuzzer.parts} datagrams or messages"
            print(
                f"{name}: {fuzzer.tried} inputs{parts}, {rate:.0f}/s, the dearest {fuzzer.slowest * 1000:.0f} ms, "
                f"none failed (seed {seed})",
                flush=True,
            )
    return 1 if failures else 0


async def _fuzz(fuzzer: Fuzzer, count: int | None, until: float) -> None:
    await fuzzer.corpus()
    if count is None:
        await fuzzer.inputs(until=until)
    else:
        await fuzzer.inputs(count)


if __name__ == "__main__":
    sys.exit(main())
