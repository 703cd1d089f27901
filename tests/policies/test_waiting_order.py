"""The laws of the turns: classes strict, by age or by weight, and keys within a class."""

import itertools
from collections import Counter, deque

import pytest
from effort import examples
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from actors.messages import NotificationChannel, Priority, SendNotification
from actors.policies.order import Order, Turns, tenant_of
from actors.settings.order import OrderConfig

WEIGHTS = st.tuples(*[st.sampled_from([1, 2, 3, 4, 16, 0.5, 0.7])] * 3).map(
    lambda weights: dict(zip(map(str, Priority), weights, strict=True))
)
CONFIGS = st.one_of(
    st.just({}),
    st.builds(lambda aging: {"aging": f"{aging}s"}, st.sampled_from([1, 3])),
    st.builds(lambda weights: {"kind": "weighted", "weights": weights}, WEIGHTS),
)
FLOWS = st.tuples(st.integers(0, 2), st.sampled_from("abc"))
STEPS = st.lists(st.one_of(FLOWS, st.just("go"), st.just("go")), max_size=120)
S = 1_000_000_000


class Line:
    """Numbers that wait by flow, in turns; each joins a second after the one before."""

    def __init__(self, config: dict[str, object]) -> None:
        self.order = Order(OrderConfig.model_validate(config), "user")
        self.turns: Turns[deque[int]] = Turns(self.order, lambda waiting: waiting[0] * S)
        self.joined = 0

    def join(self, flow: tuple[int, str]) -> None:
        waiting = self.turns.get(flow)
        if waiting is None:
            waiting = deque()
            self.turns.add(flow, waiting)
        waiting.append(self.joined)
        self.joined += 1

    def go(self, may_go=None) -> tuple[int, str, int] | None:
        flow = self.turns.next(may_go)
        assert self.turns.next(may_go) == flow  # to look changes nothing
        if flow is None:
            return None
        waiting = self.turns.get(flow)
        self.turns.take(flow)
        number = waiting.popleft()
        if not waiting:
            self.turns.discard(flow)
        return *flow, number

    def waiting(self) -> list[tuple[int, str, int]]:
        return [(rank, key, number) for rank, key in self.turns.flows() for number in self.turns.get((rank, key))]


@given(CONFIGS, STEPS)
def test_all_go_each_once_and_in_a_flow_as_they_came(config, steps):
    line, gone, joined = Line(config), [], []
    for step in [*steps, *["go"] * len(steps)]:
        if step == "go":
            before = line.waiting()
            went = line.go()
            assert (went is None) == (not before)
            if went is not None:
                assert went in before
                gone.append(went)
        else:
            joined.append((*step, line.joined))
            line.join(step)
    assert not line.turns
    assert sorted(gone) == sorted(joined)
    for flow in {each[:2] for each in gone}:
        numbers = [number for *other, number in gone if tuple(other) == flow]
        assert numbers == sorted(numbers)


@given(st.sampled_from([None, 1, 3]), STEPS)
def test_strict_order_goes_by_class_or_by_class_and_age(aging, steps):
    line = Line({} if aging is None else {"aging": f"{aging}s"})
    for step in steps:
        if step != "go":
            line.join((step[0], "a"))
            continue
        before = line.waiting()
        went = line.go()
        if went is not None:
            assert went == min(before, key=lambda each: (each[0] * (aging or 10**6) + each[2], each[0]))


@given(CONFIGS, STEPS)
def test_keys_of_a_class_take_turns(config, steps):
    """While two keys of a class wait, neither goes twice before the other has gone once."""
    line = Line(config)
    since: dict[tuple[int, str, str], int] = {}
    for step in steps:
        if step != "go":
            line.join(step)
            continue
        before = {each[:2] for each in line.waiting()}
        went = line.go()
        if went is None:
            continue
        rank, key, _ = went
        for other in {key for of, key in before if of == rank} - {key}:
            ahead = since[rank, key, other] = since.get((rank, key, other), 0) + 1
            since[rank, other, key] = 0
            assert ahead <= 2  # once for where its turn was when the other joined
        for of, first, second in list(since):
            if not {(of, first), (of, second)} <= before:
                del since[of, first, second]


@settings(max_examples=examples(50))
@given(WEIGHTS, st.lists(st.integers(0, 2), min_size=20, max_size=300))
def test_the_shares_of_classes_that_all_wait_differ_by_no_more_than_the_bound_of_deficit_round_robin(weights, first):
    line = Line({"kind": "weighted", "weights": weights})
    of = line.order.quanta
    for rank in first:
        line.join((rank, "a"))
    went: list[int] = []
    left = Counter(first)
    while all(left[rank] for rank in range(3)):
        rank = line.go()[0]
        left[rank] -= 1
        went.append(rank)
    counts = [[0] * 3]
    for rank in went:
        counts.append([count + (rank == each) for each, count in enumerate(counts[-1])])
    for start, end in itertools.combinations(counts, 2):
        served = [(b - a) / q for a, b, q in zip(start, end, of, strict=True)]
        for one, other in itertools.combinations(range(3), 2):
            assert abs(served[one] - served[other]) <= 1 + 1 / of[one] + 1 / of[other] + 1e-9


@given(WEIGHTS, st.integers(0, 2))
def test_nothing_starves_in_weighted_order(weights, rank):
    """However many of the others come, one goes within the sum of a round."""
    line = Line({"kind": "weighted", "weights": weights})
    for other in range(3):
        line.join((other, "a"))
    others = 0
    while (went := line.go())[0] != rank:
        others += 1
        line.join((went[0], "a"))
        assert others <= sum(line.order.quanta) + 3


@given(CONFIGS, STEPS, st.sampled_from("abc"))
def test_a_key_that_may_not_go_holds_up_no_other(config, steps, barred):
    line = Line(config)
    for step in steps:
        if step != "go":
            line.join(step)
            continue
        before = line.waiting()
        went = line.go(lambda key: key != barred)
        assert (went is None) == all(key == barred for _, key, _ in before)
        if went is not None:
            assert went[1] != barred
            if not config:
                assert went[0] == min(rank for rank, key, _ in before if key != barred)


def test_a_step_looks_at_the_same_number_of_keys_however_many_wait():
    looks = Counter()
    for count in (10, 10_000):
        line = Line({"kind": "weighted"})
        for number in range(count):
            line.join((number % 3, str(number)))

        def may_go(key, count=count):
            looks[count] += 1
            return True

        for _ in range(10):
            line.go(may_go)
    assert looks[10] == looks[10_000]


@pytest.mark.parametrize("metadata", [{}, {"tenant": None}])
def test_what_names_no_tenant_is_of_none(metadata):
    command = SendNotification(
        notification_id="a", channel=NotificationChannel.EMAIL, recipient="ann", message="", metadata=metadata
    )
    assert tenant_of(command) == ""


def test_places_grow_and_are_the_instants_at_which_each_joined():
    order = Order(OrderConfig(), "none")
    assert [order.next_place(at) for at in (5, 5, 5, 9, 9, 20)] == [5, 6, 7, 9, 10, 20]


@pytest.mark.parametrize(
    "weights", [{"critical": 1e308, "bulk": 1e-308}, {"bulk": 1e-320}, {"normal": 4_000_001}, {"critical": 10**400}]
)
def test_weights_that_starve_a_class_are_refused(weights):
    """Credit of 2^53 is not spent by taking 1 away, and of 1e308 by 1e-308 it is infinite."""
    with pytest.raises(ValidationError, match=r"wanted (weights of which none|a number of more than 0)"):
        OrderConfig.model_validate({"kind": "weighted", "weights": weights})
