"""Every deviation of aiortc has a name, a sentence and a place where it is asked for."""

from __future__ import annotations

import ast
import dataclasses
import itertools
from pathlib import Path

import pytest

import peer
import peer.aiortc
from peer.aiortc.behaviour import AIORTC, W3C, Behaviour

SOURCE = Path(peer.__file__).parent
NAMES = [field.name for field in dataclasses.fields(Behaviour)]


def asked_for() -> set[str]:
    """The names that are read of something, anywhere but where they are defined."""
    return {
        node.attr
        for path in SOURCE.rglob("*.py")
        if path.name != "behaviour.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }


@pytest.mark.parametrize("name", NAMES)
def test_aiortc_decides_otherwise_than_the_w3c_in_each_of_them(name: str) -> None:
    assert getattr(AIORTC, name) is not getattr(W3C, name)


@pytest.mark.slow
def test_each_of_them_is_asked_for_somewhere() -> None:
    assert set(NAMES) <= asked_for()


def test_each_of_them_says_what_aiortc_does() -> None:
    (body,) = (
        node.body
        for node in ast.parse((SOURCE / "aiortc/behaviour.py").read_text()).body
        if isinstance(node, ast.ClassDef)
    )
    said = {
        before.target.id: after.value.value
        for before, after in itertools.pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }
    assert set(said) == set(NAMES)
    assert all(str(sentence).startswith("aiortc") for sentence in said.values())


def test_the_default_is_the_w3cs() -> None:
    assert Behaviour() == W3C


async def test_the_import_for_aiortc_programs_has_its_behaviour_and_the_other_has_not() -> None:
    theirs, ours = peer.aiortc.RTCPeerConnection(), peer.RTCPeerConnection()
    for connection, stopped in ((theirs, "sendrecv"), (ours, "stopped")):
        transceiver = connection.addTransceiver("audio")
        transceiver.stop()
        assert transceiver.direction == stopped
        await connection.close()


async def test_a_connection_takes_any_choice_of_them() -> None:
    connection = peer.RTCPeerConnection(behaviour=Behaviour(waits_for_candidates=True))
    connection.createDataChannel("x")
    await connection.setLocalDescription()
    assert connection.iceGatheringState == "complete"
    await connection.close()
