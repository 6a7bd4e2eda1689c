"""Runs aiortc's own peer connection tests, from its source distribution, against our RTCPeerConnection.

    python -m tests.interop.aiortc_suite <unpacked source distribution> [--w3c] [test names…]

Prints one JSON object: test name → "passed", "skipped", or the last line of what went wrong.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import unittest
from typing import Any

import peer
from peer.aiortc.behaviour import AIORTC, W3C
from peer.connection.configuration import configuration as configuration_of
from peer.ice.agent.timings import IceTimings


class Recorder(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcome: dict[str, str] = {}

    def _name(self, test: Any) -> str:
        return str(test.id().rpartition(".")[2])

    def addSuccess(self, test: Any) -> None:
        self.outcome.setdefault(self._name(test), "passed")

    def addSkip(self, test: Any, reason: str) -> None:
        self.outcome[self._name(test)] = "skipped"

    def _wrong(self, test: Any, err: Any) -> None:
        frame, line = err[2], 0
        while frame is not None:
            if frame.tb_frame.f_code.co_filename.endswith("test_rtcpeerconnection.py"):
                line = frame.tb_lineno
            frame = frame.tb_next
        self.outcome[self._name(test)] = f"line {line}: {err[0].__name__}: {str(err[1])[:300]}"

    def addError(self, test: Any, err: Any) -> None:
        self._wrong(test, err)

    def addFailure(self, test: Any, err: Any) -> None:
        self._wrong(test, err)


def expect_transport_feedback(suite: Any) -> None:
    """Adds to the codec lines that aiortc's tests compare the one line by which video adapts here, `transport-cc`."""
    for lines in ("VP8_SDP", "H264_SDP"):
        expected = re.sub(
            r"(a=rtcp-fb:(\d+)) goog-remb\r\n", r"\g<0>\1 transport-cc\r\n", getattr(suite, lines)
        )
        setattr(suite, lines, expected)


def run(source: str, names: list[str], *, compat: bool) -> dict[str, str]:
    for name in [name for name in sys.modules if name == "tests" or name.startswith("tests.")]:
        del sys.modules[name]
    sys.path.insert(0, source)
    suite: Any = importlib.import_module("tests.test_rtcpeerconnection")  # aiortc's, now
    expect_transport_feedback(suite)

    def ours(configuration: Any = None) -> peer.RTCPeerConnection:
        given = configuration_of(configuration)
        # What failure looks like matters here; that it takes 39.5 seconds is tested in virtual time.
        given.ice = peer.IceOptions(timings=IceTimings(patience=3.0))
        if configuration is None and compat:
            given.bundlePolicy = peer.RTCBundlePolicy.BALANCED
        return peer.RTCPeerConnection(given, behaviour=AIORTC if compat else W3C)

    suite.RTCPeerConnection = ours
    case = suite.RTCPeerConnectionTest
    chosen = names or unittest.TestLoader().getTestCaseNames(case)
    recorder = Recorder()
    unittest.TestSuite(case(name) for name in chosen).run(recorder)
    return recorder.outcome


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(
        json.dumps(
            run(arguments[0], [a for a in arguments[1:] if a != "--w3c"], compat="--w3c" not in arguments)
        )
    )
