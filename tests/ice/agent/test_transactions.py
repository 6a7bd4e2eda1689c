"""Requests under way: sent again until enough, remembered until answered or long ago."""

from __future__ import annotations

from peer.ice.agent.pair import CandidatePair
from peer.ice.agent.timings import IceTimings
from peer.ice.agent.transactions import Transaction, Transactions
from tests.support.hand import Base, candidate

PAIR = CandidatePair(candidate("10.0.0.1", 1), candidate("10.0.0.2", 2), Base(), controlling=True)


def request(number: int, now: float = 0, pair: CandidatePair = PAIR) -> Transaction:
    return Transaction(
        number.to_bytes(12, "big"), pair, b"", now, controlling=True, nomination=0, priority=1, rto=0.25
    )


def test_waiting_grows_to_its_limit_and_ends_after_so_many_transmissions() -> None:
    timings = IceTimings()
    transactions = Transactions(timings)
    check = request(1)
    transactions.add(check, retransmit=True)
    sent = [0.0]
    given_up: list[float] = []
    while (due := transactions.next_due()) is not None:
        again, over = transactions.take_due(due)
        sent += [due for _ in again]
        given_up += [due for _ in over]
    assert len(sent) == timings.transmissions
    gaps = [round(later - earlier, 6) for earlier, later in zip(sent, [*sent[1:], given_up[0]], strict=True)]
    assert gaps[:3] == [0.25, 0.375, 0.5625]
    assert max(gaps) == timings.max_rto
    assert transactions.find(check.id) is check


def test_a_single_check_is_not_sent_again_but_awaited() -> None:
    transactions = Transactions(IceTimings())
    check = request(1)
    transactions.add(check, retransmit=False)
    assert transactions.next_due() is None
    assert transactions.find(check.id) is check


def test_an_answered_one_is_forgotten_so_a_copy_of_the_answer_says_nothing() -> None:
    transactions = Transactions(IceTimings())
    check = request(1)
    transactions.add(check, retransmit=True)
    transactions.settle(check)
    transactions.settle(check)
    assert transactions.find(check.id) is None
    assert transactions.next_due() is None


def test_old_ones_make_room_by_age_and_by_number() -> None:
    timings = IceTimings()
    transactions = Transactions(timings)
    old = request(1)
    transactions.add(old, retransmit=False)
    transactions.add(request(2, now=timings.answer_lifetime + 1), retransmit=False)
    assert transactions.find(old.id) is None
    for number in range(3, 3000):
        transactions.add(request(number, now=timings.answer_lifetime + 1), retransmit=True)
    assert len(transactions.active) <= 512
    assert transactions.find(request(2999).id) is not None


def test_a_pair_that_is_gone_takes_its_requests_along() -> None:
    transactions = Transactions(IceTimings())
    other = CandidatePair(candidate("10.0.0.1", 1), candidate("10.0.0.3", 2), Base(), controlling=True)
    mine, theirs = request(1), request(2, pair=other)
    transactions.add(mine, retransmit=True)
    transactions.add(theirs, retransmit=True)
    transactions.forget_pair(PAIR)
    assert transactions.find(mine.id) is None
    assert transactions.find(theirs.id) is theirs
    assert list(transactions.active) == [theirs.id]
