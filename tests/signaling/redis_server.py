"""A real redis-server of our own, on a socket in a directory of our own."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

from tests.conftest import require_part

__all__ = ["RedisServer"]


class RedisServer:
    """Starts, stops and restarts redis-server. With `durable` every write is on disk before it is answered."""

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self._program = require_part("redis")
        self._directory = directory
        self._socket = directory / "redis.sock"
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        arguments = [
            "--port",
            "0",
            "--unixsocket",
            str(self._socket),
            "--dir",
            str(self._directory),
            "--save",
            "",
        ]
        if self._durable:
            arguments += ["--appendonly", "yes", "--appendfsync", "always"]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([self._program, *arguments], stdout=log, stderr=log)
        client = redis.Redis.from_url(self.url)
        deadline = time.monotonic() + 10
        try:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                    time.sleep(0.01)
        finally:
            client.close()

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
