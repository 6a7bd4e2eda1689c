"""`python -m tests.hostile [--seconds 60] [attack …]`: an honest call beside each attack, and what became of it."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from tests.hostile.attacks import ATTACKS
from tests.hostile.scene import Scene


async def main(attacks: list[str], seconds: float) -> None:
    print(f"{'attack':22} {'gap':>8} {'heard':>8} {'bot':>10} {'relay':>10} {'standstill':>10}", flush=True)
    with tempfile.TemporaryDirectory() as logs:
        for attack in attacks:
            # Each in a room of its own: what an attack leaves behind must not hide what the next one takes.
            async with Scene(Path(logs)) as scene:
                await scene.under("nothing", seconds=3)
                found = await scene.under(attack, seconds=seconds)
            print(
                f"{attack:22} {found.gap * 1000:5.0f} ms {found.heard:6.1f} s {found.bot_memory / 1e6:+7.1f} MB "
                f"{found.relay_memory / 1e6:+7.1f} MB {found.lag * 1000:7.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for each attack (default: 60)")
    parser.add_argument("attack", nargs="*", choices=[*ATTACKS, []], help="some of them (default: all)")
    options = parser.parse_args()
    asyncio.run(main(options.attack or list(ATTACKS), options.seconds))
