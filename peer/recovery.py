"""When to wait, to restart ICE, and to give up: a connection that breaks is looked after without anybody asking.

Most silences end by themselves, so they get a grace period; `failed` and a change of network get none. A restart that
does not help is followed by others, further and further apart, until too long has passed without a path. Both ends
of a connection hear the same silence: the side that controls ICE restarts, and the other leaves it the time to.
Signalling is the application's: a restart fires `negotiationneeded`, as `restartIce()` does (W3C WebRTC 1.0 §4.4.2).

An outage often takes the offer with it: a WebSocket that is dead and does not know it, an HTTP request that fails. So
while there is no path, an offer of ours that has no answer after some round trips of signalling is rolled back, and
`negotiationneeded` fires again. Whoever writes signalling sees to two things: `negotiationneeded` sends an offer each
time it fires, and an answer says which offer it answers, so that a late one is not taken for another's.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from dataclasses import dataclass
from typing import Any, Final

from peer.aio.background import Background
from peer.aio.emitter import EventEmitter

__all__ = ["Recovery", "RecoveryReport", "check_options"]

logger = logging.getLogger(__name__)

STEADY: Final = (
    10.0  # seconds of an unbroken connection, after which the next outage starts with a clean slate
)
NETWORK_SHADOW: Final = 10.0  # seconds after a change of network in which a disconnect is put down to it
COURTESY: Final = 5.0  # seconds the controlled side waits for the other's restart, beyond its own grace
JITTER: Final = 0.25
LONGEST_PAUSE: Final = 30.0
ANSWER_PATIENCE: Final = 2.0  # seconds an offer waits for its answer while there is no path, at the least
ANSWER_ROUND_TRIPS: Final = 4  # or as many times what the last answer took


@dataclass(frozen=True)
class RecoveryReport:
    """What an event of `Recovery` tells."""

    reason: str
    """What broke it: `disconnected`, `failed`, `network changed`, or `never connected`."""
    duration: float
    """Seconds since it broke."""
    restarts: int
    """ICE restarts in this outage so far."""


class Recovery(EventEmitter):
    """Restarts ICE on `pc` when it has to be, and says how it goes. All times in seconds.

    - `grace`: how long the path may be silent before a restart, counted from the last sign of life, though none comes
      before `disconnected`. The side that ICE calls controlled waits 5 s more (less if `give_up` leaves less): one
      outage, one restart. `failed` and network changes do not wait.
    - `give_up`: how long the connection may stay `disconnected` or `failed` before `lost`. The watch goes on: a
      connection that comes back later still reports `reconnected`.
    - `network_change`: whether a disconnect that comes with a change of local addresses is restarted at once, too.
    - `retry`: the pause after the first restart, whichever side's; it doubles with each (30 s at most), a quarter more
      or less at random, and also spaces restarts of outages that follow each other quickly. The checks of the restart
      go on meanwhile, also from and to addresses that come up only then.
    - `offer_again`: whether an offer without an answer is made again while there is no path. False where signalling
      itself sees to it that messages arrive, as the `SignalingClient` of a `Call` does.
    - `connect`: how long the first negotiation may take to connect; None for ever.

    Events, each with a `RecoveryReport`: `reconnecting` (a restart of ours begins), `reconnected`, `lost`. A blip
    within `grace` is no event, nor is an outage that the other side's restart ends. Raises `ValueError` for times that
    make no sense. `close()` ends the watch, and so does closing `pc`.
    """

    def __init__(
        self,
        pc: Any,
        grace: float = 5.0,
        give_up: float = 10.0,
        network_change: bool = True,
        *,
        retry: float = 5.0,
        connect: float | None = 30.0,
        offer_again: bool = True,
        rng: random.Random | None = None,
    ) -> None:
        super().__init__()
        check_options(grace, give_up, network_change, retry=retry, connect=connect, rng=rng)
        self.pc = pc
        self.grace = grace
        self.give_up = give_up
        self.retry = retry
        self.connect = connect
        self.offer_again = offer_again
        self._rng = rng or random.Random()
        self._clock = asyncio.get_running_loop()
        self._began: float | None = None
        self._reason = ""
        self._restarts = 0
        self._pauses = 0
        self._not_before = 0.0
        self._steady_since: float | None = None
        self._network_changed_at = -math.inf
        self._lost = False
        self._closed = False
        self._offered_at: float | None = None
        self._answer_took = 0.0
        self._offers_again = 0
        self._in_doubt = False
        self._background = Background("Recovery")
        self._offer_timer: asyncio.TimerHandle | None = None
        self._restart_timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._connect_timer: asyncio.TimerHandle | None = None
        self._watched = {"connectionstatechange": self._changed, "signalingstatechange": self._negotiating}
        if network_change:
            self._watched["networkchange"] = self._network_changed
        for event, listener in self._watched.items():
            pc.on(event, listener)
        self._changed()
        self._negotiating()

    @property
    def recovering(self) -> bool:
        """Whether the connection is without a path at the moment."""
        return self._began is not None

    def close(self) -> None:
        """Stop watching. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for event, listener in self._watched.items():
            if listener in self.pc.listeners(event):
                self.pc.remove_listener(event, listener)
        for timer in (self._restart_timer, self._deadline, self._connect_timer, self._offer_timer):
            if timer is not None:
                timer.cancel()
        self._background.cancel()
        self.remove_all_listeners()

    def _changed(self, *_: Any) -> None:
        if self._closed:
            return
        state = self.pc.connectionState
        if state == "connected":
            self._up()
        elif state == "disconnected" and not self.recovering:
            now = self._clock.time()
            if now - self._network_changed_at < NETWORK_SHADOW:
                self._down("network changed")
                self._schedule(now)
            else:
                self._down("disconnected")
                wait = max(0.0, self.grace - self.pc.silence)
                self._schedule(now + wait + self._courtesy(wait))
        elif state == "failed":
            self._down("failed")
            self._schedule(self._clock.time())
        elif state == "closed":
            self.close()

    def _network_changed(self, *_: Any) -> None:
        self._network_changed_at = self._clock.time()
        # A path that still carries needs nothing: new addresses trickle, and a backup may have taken over already.
        if not self._closed and self.recovering:
            self._reason = "network changed"
            self._schedule(self._clock.time())

    def _negotiating(self, *_: Any) -> None:
        if self._closed:
            return
        state = self.pc.signalingState
        if state == "have-local-offer":
            self._offered_at = self._clock.time() if self._offered_at is None else self._offered_at
            self._wait_for_answer()
        else:
            self._answered(state)
        if (
            state != "stable"
            and self._connect_timer is None
            and self._steady_since is None
            and self.connect is not None
        ):
            self._connect_timer = self._clock.call_later(self.connect, self._never_connected)
        if state == "have-remote-offer" and self.recovering:
            # The remote is at it already: ours would only collide with its restart.
            self._pause()
            if self._restart_timer is not None:
                began = self._clock.time() if self._began is None else self._began
                due = self._not_before + self._courtesy(self._not_before - began)
                self._schedule(max(due, self._restart_timer.when()))

    # An offer of ours, while there is no path

    def _wait_for_answer(self) -> None:
        if self._offered_at is None or not self.offer_again or self._offer_timer is not None:
            return
        # An offer that an outage may have taken is in doubt until it is answered, also once there is a path again.
        self._in_doubt = self._in_doubt or self.recovering
        if not self._in_doubt or self._lost:
            return
        patience = max(ANSWER_PATIENCE, ANSWER_ROUND_TRIPS * self._answer_took) * 2**self._offers_again
        when = max(self._offered_at + patience, self._clock.time())
        self._offer_timer = self._clock.call_at(when, self._unanswered)

    def _answered(self, state: str) -> None:
        if self._offered_at is not None and state == "stable" and not self._background:
            self._answer_took = self._clock.time() - self._offered_at
        self._offered_at = None
        if not self._background:
            self._in_doubt = False
            if not self.recovering:
                self._offers_again = 0
        if self._offer_timer is not None:
            self._offer_timer.cancel()
            self._offer_timer = None

    def _unanswered(self) -> None:
        self._offer_timer = None
        if not self._lost and self.pc.signalingState == "have-local-offer":
            self._offers_again = min(self._offers_again + 1, 8)
            self._background.spawn(self._offer_again(), "another offer")

    async def _offer_again(self) -> None:
        logger.info("an offer has had no answer: it is rolled back, and made again")
        try:
            await self.pc.setLocalDescription({"type": "rollback"})
        except Exception as error:
            # Answered, or closed, in the same moment.
            logger.debug("the offer was not rolled back: %s", error)
            return
        if not self._closed and not self._lost:
            self.pc.restartIce()

    def _never_connected(self) -> None:
        if self._steady_since is None and self.pc.connectionState != "connected":
            self._down("never connected")
            self._give_up()

    def _up(self) -> None:
        now = self._clock.time()
        for timer in (self._restart_timer, self._deadline, self._connect_timer):
            if timer is not None:
                timer.cancel()
        self._restart_timer = self._deadline = self._connect_timer = None
        report = self._account() if self.recovering and (self._restarts or self._lost) else None
        self._began = None
        self._lost = False
        self._restarts = 0
        self._steady_since = now
        if report is not None:
            logger.info("reconnected after %.1f s and %d restarts", report.duration, report.restarts)
            self.emit("reconnected", report)

    def _down(self, reason: str) -> None:
        now = self._clock.time()
        if self._began is None:
            if self._steady_since is not None and now - self._steady_since >= STEADY:
                self._pauses = 0
            self._began = now
            self._reason = reason
            self._deadline = self._clock.call_later(self.give_up, self._give_up)
            self._wait_for_answer()

    def _courtesy(self, wait: float) -> float:
        """How much longer than `wait` after the break we leave it to the other side to restart."""
        return 0.0 if self.pc.controlling else min(COURTESY, max(0.0, (self.give_up - wait) / 2))

    def _schedule(self, when: float) -> None:
        when = max(when, self._not_before)
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        if when <= self._clock.time():
            self._restart()
        else:
            self._restart_timer = self._clock.call_at(when, self._restart)

    def _restart(self) -> None:
        self._restart_timer = None
        if self._closed or not self.recovering or self._lost:
            return
        self._pause()
        # An offer that is not answered yet is a restart under way; a second one could not be sent before its answer.
        if self.pc.signalingState == "stable":
            self._restarts += 1
            logger.info("ICE restart %d: %s", self._restarts, self._reason)
            self.pc.restartIce()
            self.emit("reconnecting", self._account())
        if not self._closed:
            self._schedule(self._not_before)

    def _pause(self) -> None:
        pause = min(self.retry * 2**self._pauses, LONGEST_PAUSE)
        self._pauses = min(self._pauses + 1, 16)
        self._not_before = self._clock.time() + pause * self._rng.uniform(1 - JITTER, 1 + JITTER)

    def _give_up(self) -> None:
        if self._closed or self._lost:
            return
        self._lost = True
        if self._restart_timer is not None:
            self._restart_timer.cancel()
            self._restart_timer = None
        report = self._account()
        logger.info("lost after %.1f s and %d restarts: %s", report.duration, report.restarts, report.reason)
        self.emit("lost", report)

    def _account(self) -> RecoveryReport:
        began = self._began if self._began is not None else self._clock.time()
        return RecoveryReport(
            reason=self._reason, duration=self._clock.time() - began, restarts=self._restarts
        )


def check_options(
    grace: float = 5.0,
    give_up: float = 10.0,
    network_change: bool = True,
    *,
    retry: float = 5.0,
    connect: float | None = 30.0,
    offer_again: bool = True,
    rng: random.Random | None = None,
) -> None:
    """Raises ValueError for arguments of `Recovery` that make no sense, before there is a connection to look after."""
    for name, value in (("grace", grace), ("give_up", give_up), ("retry", retry), ("connect", connect)):
        if value is not None and value < 0:
            raise ValueError(f"{name} must not be negative, but is {value!r}")
    if give_up <= grace:
        raise ValueError(
            f"give_up ({give_up} s) must be longer than grace ({grace} s), or no restart ever happens"
        )
    if retry <= 0:
        raise ValueError("retry must be more than 0 s, or restarts would storm")
