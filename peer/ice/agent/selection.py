"""The valid pairs, and the one of them that carries the payload (RFC 8445 §8.1).

The rules of preference are in `nomination`; here they meet what happens to pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from .consent import Consent
from .context import AgentContext
from .nomination import Nominations, best, is_better, worth_keeping
from .pair import CandidatePair

# Seconds for which pairs may go on to become valid after the first one did.
_SETTLED = 1.0

Selected: TypeAlias = Callable[[CandidatePair | None, float], None]


class Selection:
    """`selected` is called whenever the selected pair has changed, with None when there is none left."""

    def __init__(self, session: AgentContext, selected: Selected) -> None:
        self._context = session
        self._selected = selected
        self.pair: CandidatePair | None = None
        """The selected one."""
        self.valid: list[CandidatePair] = []
        self.kept: list[CandidatePair] = []
        """The selected one and the backups worth a check now and then."""
        self.nomination = 0
        """The number of our latest nomination, while we control."""
        self.lost = False
        """There was a selected pair, and there is none."""
        self.last_granted = float("-inf")
        """The latest consent given on a pair that is no longer valid."""
        self.last_heard = float("-inf")
        """The latest sign of life on a pair that is no longer selected."""
        self._chosen_at = 0.0
        self._told = False
        """That there is none left."""
        self._nominations = Nominations()

    @property
    def heard_at(self) -> float:
        """The latest sign of life where payload goes, or went."""
        pair = self.pair
        return (
            self.last_heard
            if pair is None or pair.consent is None
            else max(self.last_heard, pair.consent.heard_at)
        )

    @property
    def quiet_since(self) -> float | None:
        """Since when the selected pair has been silent: it has had a chance only since it was selected."""
        pair = self.pair
        return None if pair is None or pair.consent is None else max(pair.consent.heard_at, self._chosen_at)

    @property
    def granted_at(self) -> float:
        """The latest consent given on any pair."""
        granted = [pair.consent.granted_at for pair in self.valid if pair.consent is not None]
        return max(self.last_granted, *granted) if granted else self.last_granted

    def add(self, pair: CandidatePair, now: float) -> None:
        """Its check succeeded."""
        pair.consent = Consent(now, self._context.timings, pair.round_trip)
        self.valid.append(pair)
        self._reconsider()

    def drop(self, pair: CandidatePair) -> None:
        """It is valid no more, if it was. `hand_over` or `look_for_another` must follow."""
        pair.nominated = False
        self._nominations.forget(pair)
        if pair.consent is None:
            return
        self.last_granted = max(self.last_granted, pair.consent.granted_at)
        self.last_heard = max(self.last_heard, pair.consent.heard_at)
        pair.consent = None
        self.valid.remove(pair)
        if pair is self.pair:
            self.pair = None
            self.lost = True
        self._reconsider()

    def renamed(self) -> None:
        """Candidates of pairs have changed."""
        self._reconsider()

    def role_changed(self) -> None:
        """Forget the nominations of the role before."""
        self._nominations = Nominations()
        for pair in self.valid:
            pair.nominated = False
        if self._context.controlling and self.pair is not None:
            self._nominate(self.pair)

    def answered(self, pair: CandidatePair, now: float) -> None:
        """Select a valid pair that was heard from, if it is the one to use."""
        if self.pair is None:
            self._select(pair, now, "valid again" if self.lost else "first valid")
        elif pair is not self.pair and self._is_suspect(now):
            self._take_over(now)
        elif self._context.controlling:
            self._improve(now)

    def acknowledged(self, pair: CandidatePair, nomination: int) -> None:
        """The peer answered a check that carried this nomination of ours."""
        if self._context.controlling and nomination and nomination == self.nomination:
            self._mark_nominated(pair)

    def nominated_by_peer(self, pair: CandidatePair, value: int, transaction_id: bytes, now: float) -> None:
        """RFC 8445 §7.3.1.5. `value` numbers the nomination; zero if the peer does not number them."""
        if pair.consent is None:
            # It counts once our own check has succeeded.
            pair.nomination = max(value, pair.nomination or 0)
            return
        nominated = self.pair if self.pair is not None and self.pair.nominated else None
        if not self._nominations.accept(pair, value, transaction_id, nominated):
            return
        # Dead in our direction: the peer will notice as well, and nominate another.
        if pair is not self.pair and pair.consent.unanswered < 2:
            self._select(pair, now, "nominated by the peer")
        if pair is self.pair:
            self._mark_nominated(pair)

    def watch(self, now: float) -> None:
        """Move away from a selected pair that has stopped answering, if another answers, and after a peer that has."""
        if self._is_suspect(now):
            self._take_over(now)
        due = self.follow_due()
        if due is not None and now >= due:
            newcomer = best(self._newcomers())
            assert newcomer is not None
            assert self.pair is not None
            if self.pair.consent is not None:
                self.pair.consent.abandon()
            self._select(newcomer, now, "the peer has moved")

    def follow_due(self) -> float | None:
        """When to follow the peer to another pair, should nothing more be heard on the selected one.

        None where it has not shown up elsewhere since it was heard last, or was not heard steadily.
        """
        pair = self.pair
        if pair is None or pair.consent is None or not pair.consent.busy or not any(self._newcomers()):
            return None
        return pair.consent.heard_at + self._context.timings.moved_silence

    def hand_over(self, now: float) -> None:
        """Let the best other pair carry on, if the selected one was among those we cannot send on any more.

        That it carries on is no sign that anybody is there.
        """
        if self.pair is not None or not self.lost:
            return
        fresh = (pair for pair in self.valid if pair.consent is not None and not pair.consent.unanswered)
        other = best(fresh) or best(self.valid)
        if other is not None:
            self._select(other, now, "carries on")
        else:
            self._tell_none(now)

    def look_for_another(self, now: float) -> None:
        """Ask all other pairs, if the selected one was among those that nobody answered on.

        The first one to answer is selected.
        """
        if self.pair is not None or not self.lost:
            return
        for pair in self.valid:
            if pair.consent is not None:
                pair.consent.ask_again(now, self._context.timings)
        self._tell_none(now)

    def shift(self, stall: float, now: float) -> None:
        """Nobody looked for this long: it does not count."""
        for pair in self.valid:
            if pair.consent is not None:
                pair.consent.shift(stall, now)
        self.last_granted += stall
        self.last_heard = min(now, self.last_heard + stall)
        self._chosen_at = min(now, self._chosen_at + stall)

    def _tell_none(self, now: float) -> None:
        if not self._told:
            self._told = True
            self._context.log("no pair left")
            self._selected(None, now)

    def _newcomers(self) -> Iterator[CandidatePair]:
        """Pairs as good that have become valid since the selected one was heard last, and not in the wake of it."""
        current = self.pair
        assert current is not None
        assert current.consent is not None
        after = max(current.consent.heard_at, self._chosen_at + _SETTLED)
        for pair in self.valid:
            consent = pair.consent
            assert consent is not None
            if consent.since > after and consent.unanswered < 2 and pair.tier >= current.tier:
                yield pair

    def _is_suspect(self, now: float) -> bool:
        pair = self.pair
        return (
            pair is not None and pair.consent is not None and pair.consent.suspect(now, self._context.timings)
        )

    def _improve(self, now: float) -> None:
        choice = current = self.pair
        settled_for = now - self._chosen_at
        for pair in self.kept:
            if choice is None or pair is choice:
                continue
            if is_better(pair, choice, settled_for=settled_for, timings=self._context.timings):
                choice = pair
        if choice is not None and choice is not current:
            self._select(choice, now, "better")

    def _take_over(self, now: float) -> None:
        current = self.pair
        if current is None or current.consent is None:
            return
        since = current.consent.unanswered_since
        other = best(
            pair
            for pair in self.valid
            if pair is not current
            and pair.consent is not None
            and pair.consent.unanswered < 2
            and pair.consent.granted_at > since
        )
        if other is not None:
            current.consent.abandon()
            self._select(other, now, "takes over")

    def _select(self, pair: CandidatePair, now: float, why: str) -> None:
        assert pair.consent is not None
        self.last_heard = self.heard_at
        if self.pair is not None:
            self.pair.nominated = False
        self.pair = pair
        self.lost = self._told = False
        self._chosen_at = now
        self._context.log("selected", pair, why=why)
        self._reconsider()
        if self._context.controlling:
            self._nominate(pair)
        self._selected(pair, now)

    def _nominate(self, pair: CandidatePair) -> None:
        """The checks of this pair now nominate it, by a number above all before, and one goes out at once."""
        self.nomination = min(self.nomination + 1, 0xFFFFFF)
        if pair.consent is not None:
            pair.consent.due = float("-inf")

    def _mark_nominated(self, pair: CandidatePair) -> None:
        if not pair.nominated:
            pair.nominated = True
            self._context.log("nominated", pair)

    def _reconsider(self) -> None:
        backups = (pair for pair in self.valid if pair is not self.pair)
        kept = worth_keeping(backups, self._context.timings.backup_pairs)
        self.kept = kept if self.pair is None else [self.pair, *kept]
