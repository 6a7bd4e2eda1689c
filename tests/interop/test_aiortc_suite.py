"""aiortc's own peer connection tests, fetched as its source distribution, against ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

PRIVATE = "looks at transports, which in aiortc a transceiver has before anything is described"
FLAPS = "demands that renegotiation makes ICE go back to 'new', for a transport that the bundle discards"

EXCEPTIONS = {
    "test_addIceCandidate_before_setremotedescription": "demands a line of aiortc's own logger",
    "test_bundlepolicy_max_bundle_ufrag_and_pwd": PRIVATE,
    "test_bundlepolicy_max_bundle_ufrag_and_pwd_datachannel": PRIVATE,
    "test_bundlepolicy_transports_balanced": PRIVATE,
    "test_bundlepolicy_transports_max_bundle": PRIVATE,
    "test_bundlepolicy_transports_max_compat": PRIVATE,
    "test_connect_datachannel_legacy_sdp": "sets `_sctpLegacySdp` to offer in the form of 2016",
    "test_connect_audio_then_video": FLAPS,
    "test_connect_datachannel_then_audio": FLAPS,
    "test_setRemoteDescription_no_common_audio": "RFC 3551 §6: PCMU needs no rtpmap, so there is a common codec",
}


def run(source: Path, *arguments: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.interop.aiortc_suite", str(source), *arguments],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    outcome: dict[str, str] = json.loads(done.stdout)
    return outcome


@pytest.mark.timeout(500)
def test_with_the_switch_on_every_public_test_of_aiortc_passes(source: Path) -> None:
    outcome = run(source)
    wrong = {
        name: result for name, result in outcome.items() if result != "passed" and name not in EXCEPTIONS
    }
    assert not wrong
    assert sum(result == "passed" for result in outcome.values()) >= 75


# Those that ask for no ICE state by name, expect no candidates from setLocalDescription, and do not want the signalling
# state judged before the description is known to be the last one created (W3C WebRTC §4.4.1.5 has it the other way).
WITHOUT_THE_SWITCH = [
    "test_addIceCandidate",
    "test_addIceCandidate_no_sdpMid_or_sdpMLineIndex",
    "test_addIceCandidate_null",
    "test_addTrack_audio",
    "test_addTrack_bogus",
    "test_addTrack_video",
    "test_addTrack_closed",
    "test_addTransceiver_audio_sendrecv",
    "test_addTransceiver_bogus_direction",
    "test_addTransceiver_bogus_kind",
    "test_addTransceiver_bogus_track",
    "test_close_before_connect",
    "test_create_datachannel_with_maxpacketlifetime_and_maxretransmits",
    "test_datachannel_bufferedamountlowthreshold",
    "test_datachannel_send_invalid_state",
    "test_createAnswer_closed",
    "test_createAnswer_without_offer",
    "test_createOffer_closed",
    "test_createOffer_without_media",
    "test_setLocalDescription_implicit",
    "test_setRemoteDescription_media_mismatch",
    "test_setRemoteDescription_with_invalid_dtls_setup_for_answer",
    "test_setRemoteDescription_without_ice_credentials",
    "test_setRemoteDescription_without_rtcp_mux",
    "test_setRemoteDescription_unexpected_answer",
    "test_always_negotiate_datachannels",
    "test_always_negotiate_datachannels_subsequent",
]


@pytest.mark.timeout(200)
def test_without_the_switch_the_tests_that_do_not_contradict_the_w3c_pass(source: Path) -> None:
    outcome = run(source, "--w3c", *WITHOUT_THE_SWITCH)
    assert {name: result for name, result in outcome.items() if result != "passed"} == {}
