"""`python -m tests.hostile.attacker ATTACK URL BOT`: attack until somebody ends this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

from tests.hostile.attacks import ATTACKS


async def main(attack: str, url: str, bot: str) -> None:
    task = asyncio.ensure_future(ATTACKS[attack](url, bot))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    # What an attacker's own work takes of this machine is not what is measured.
    os.nice(10)
    logging.disable(logging.CRITICAL)
    asyncio.run(main(*sys.argv[1:4]))
