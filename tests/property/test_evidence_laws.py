"""Laws of the evidence, for any counts: order, finiteness, bounds that agree with decisions, nothing counted twice."""

import json
import math
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.thorough import examples
from trimtab.evidence import eprocess
from trimtab.evidence.canary import Gates, judge_canary
from trimtab.evidence.design import Design, Guardrail, Objective
from trimtab.evidence.eprocess import Stratum
from trimtab.evidence.experiment import judge, verdicts
from trimtab.evidence.ledger import Ledger, LedgerStatus, Reading, restore
from trimtab.evidence.replay import replay, shown
from trimtab.evidence.tally import Segment, Tally

ARMS = ("a", "b", "c")
METRICS = ("Outcome", "OutcomeMean", "Errors", "Latency", "Prometheus")
counts = st.one_of(st.just(0), st.integers(0, 30), st.integers(0, 10**9))
strata = st.lists(st.builds(Stratum, counts, counts, st.floats(0.001, 0.999)), min_size=1, max_size=4)
effects = st.floats(0.01, 3.0)


@st.composite
def tallies(draw):
    users = draw(counts)
    requests = draw(st.integers(0, 40)) * users
    outcomes = draw(st.integers(0, users))
    total = draw(st.floats(-1e9, 1e9))
    squares = total * total / users * draw(st.floats(1, 9)) if users else 0.0
    return Tally(
        users, requests, draw(st.integers(0, requests)), outcomes, total, squares, draw(st.integers(0, requests))
    )


segments = st.lists(
    st.builds(
        Segment,
        st.floats(0, 1e7),
        st.fixed_dictionaries(dict.fromkeys(ARMS, st.sampled_from((0.0, 1.0, 10.0, 50.0)))),
        st.dictionaries(st.sampled_from(ARMS), tallies()),
    ),
    max_size=4,
)
designs = st.builds(
    Design,
    st.permutations(ARMS).map(tuple),
    st.sampled_from(ARMS),
    st.builds(Objective, st.sampled_from(METRICS), st.sampled_from(("Increase", "Decrease")), st.floats(0.01, 0.9)),
    st.lists(st.builds(Guardrail, st.sampled_from(("Errors", "Latency")), st.floats(0, 2)), max_size=2).map(tuple),
)


@given(strata, st.floats(-3, 3), st.floats(0.01, 2), effects)
def test_the_e_value_falls_when_its_null_is_raised(given_strata, null, more, effect):
    points = eprocess.around(effect)
    low, high = (eprocess.log_e(given_strata, at, points) for at in (null, null + more))
    assert high <= low + 1e-6 * (1 + abs(low))


@given(strata, effects, st.sampled_from((0.05, 0.0125)))
def test_bounds_enclose_the_estimate_and_agree_with_the_e_value(given_strata, effect, alpha):
    points = eprocess.around(effect)
    low, high = (bound(given_strata, points, alpha) for bound in (eprocess.lower, eprocess.upper))
    estimate = eprocess.log_ratio(given_strata)
    if estimate is not None:
        assert low <= estimate + 1e-6
        assert estimate - 1e-6 <= high
    score = eprocess.log_e(given_strata, 0.0, points) - math.log(1 / alpha)
    if abs(score) > 1e-3:
        assert (score > 0) == (low > 0)


@given(strata, effects)
def test_more_events_of_the_candidate_are_more_evidence(given_strata, effect):
    points = eprocess.around(effect)
    more = [given_strata[0]._replace(candidate=given_strata[0].candidate + 5), *given_strata[1:]]
    before, after = (eprocess.log_e(some, 0.0, points) for some in (given_strata, more))
    assert after >= before - 1e-6 * (1 + abs(before))
    fewer = [given_strata[0]._replace(control=given_strata[0].control + 5), *given_strata[1:]]
    assert eprocess.log_e(fewer, 0.0, points) <= before + 1e-6 * (1 + abs(before))


@settings(max_examples=examples(200))
@given(designs, segments)
def test_verdicts_are_finite_whatever_is_counted(design, given_segments):
    found = judge(design, given_segments)
    json.dumps(shown(found), allow_nan=False)
    assert set(found.arms) == set(design.arms)
    assert all(arm.e_value >= 0 for arm in found.arms.values())
    assert (found.winner is not None) == (found.decision == "Win")
    assert found.reason
    assert found.needed_users is None or found.needed_users > 0


@given(designs, segments)
def test_sums_that_are_carried_on_change_no_verdict(design, given_segments):
    carried = list(verdicts(design, given_segments))
    assert carried == [judge(design, given_segments[: end + 1]) for end in range(len(given_segments))]


@given(designs, segments, st.permutations(ARMS))
def test_the_order_of_arms_is_irrelevant(design, given_segments, order):
    one, other = judge(design, given_segments), judge(replace(design, arms=tuple(order)), given_segments)
    assert (one.decision, one.winner, one.reason, one.srm) == (other.decision, other.winner, other.reason, other.srm)
    assert dict(one.arms) == dict(other.arms)


@given(designs, segments)
def test_a_win_has_evidence_and_an_interval_without_zero(design, given_segments):
    found = judge(design, given_segments)
    if found.decision == "Win":
        won = found.arms[found.winner]
        assert won.e_value >= 2 / design.arm_alpha * (1 - 1e-9)
        bound = won.lower if design.objective.direction == "Increase" else won.upper
        if bound is not None:
            assert (bound > -1e-9) if design.objective.direction == "Increase" else (bound < 1e-9)
        assert sum(s.seconds for s in given_segments) >= design.min_seconds


@given(designs, segments)
def test_empty_segments_at_the_end_change_no_evidence(design, given_segments):
    quiet = Segment(0.0, dict.fromkeys(ARMS, 1.0), {})
    before, after = judge(design, given_segments), judge(design, [*given_segments, quiet])
    for arm in ARMS:
        if before.arms[arm].lift is not None:
            assert after.arms[arm] == before.arms[arm]


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(("spec", "segments", "arms", "name", "weights", "counts", "a", "objective")),
                c,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_a_damaged_recording_is_refused_with_a_sentence(document):
    try:
        replay(document)
    except ValueError as error:
        assert ": " in str(error)  # noqa: PT017 - either is fine, another kind of error is not


@given(tallies(), tallies(), st.floats(0, 100), st.integers(0, 10_000))
def test_a_canary_without_its_own_traffic_is_never_stopped(old, new, confidence, wanted):
    gates = Gates(1.0, 100.0, confidence, wanted)
    parts = [Segment(60, {"old": 90, "new": 10}, {"old": old, "new": new})]
    found = judge_canary(gates, parts, candidate="new", current="old")
    assert not math.isnan(found.errors.e_value + found.errors.limit_e_value)
    if not new.requests:
        assert found.decision == "Waiting"
    if not new.errors and not new.latency_above:
        assert found.decision != "StopHarm"
    if found.decision == "Continue":
        assert found.requests >= wanted


class LedgerMachine(RuleBasedStateMachine):
    """Pods that count, restart, vanish and come back; an operator that reads, writes and dies.

    `truth` is what the pods have counted since the beginning. What is persisted may lag behind it, and never be ahead.
    """

    @initialize()
    def begin(self):
        self.pods = {}
        self.weights = 0
        self.stale = []
        self.truth = 0
        self.persisted = None
        self.seen_by_dead = 0
        self.memory = Ledger().begin(self.plan(), [])
        self.write()

    def plan(self):
        return {"a": 100.0 - self.weights % 90, "b": float(self.weights % 90)}

    @rule(pod=st.integers(0, 4), growth=st.integers(0, 50))
    def count(self, pod, growth):
        epoch, total = self.pods.get(pod, (0, 0))
        self.pods[pod] = (epoch, total + growth)
        self.truth += growth

    @rule(pod=st.integers(0, 4))
    def restart_pod(self, pod):
        if pod in self.pods:
            self.pods[pod] = (self.pods[pod][0] + 1, 0)

    @rule(pods=st.sets(st.integers(0, 4)))
    def read(self, pods):
        answers = [self.answer(pod) for pod in sorted(pods) if pod in self.pods]
        self.stale = self.stale[-3:] + answers
        self.memory = self.memory.read(answers, 1.0)

    def answer(self, pod):
        epoch, total = self.pods[pod]
        return Reading(f"pod-{pod}", f"e{epoch}", {"a": Tally(requests=total), "b": Tally(errors=2 * total)})

    @rule()
    def read_an_old_answer(self):
        """A late answer, of this life of the pod or the one before."""
        late = [r for r in self.stale if self.pods[int(r.source[4:])][0] - int(r.epoch[1:]) <= 1]
        self.memory = self.memory.read(late[:1], 1.0)

    @rule()
    def change_weights(self):
        self.weights += 7
        self.memory = self.memory.begin(self.plan(), [self.answer(pod) for pod in self.pods])

    @rule()
    def write(self):
        self.persisted = json.dumps(self.memory.status().dump())

    @rule()
    def operator_dies(self):
        before = self.total(self.memory)
        self.memory = restore(LedgerStatus.model_validate(json.loads(self.persisted)))
        assert self.total(self.memory) <= before

    @rule()
    def all_answer(self):
        """Whatever was lost before: what the living pods have counted in this life is all there afterwards."""
        answers = [self.answer(pod) for pod in self.pods]
        self.memory = self.memory.read(answers, 0.0)
        assert self.memory.read(answers, 0.0) == self.memory
        assert self.total(self.memory) >= sum(total for _, total in self.pods.values())

    def total(self, ledger):
        return sum(segment.tally("a").requests for segment in ledger.segments)

    @invariant()
    def never_more_than_was_counted(self):
        if not hasattr(self, "memory"):
            return
        assert self.total(self.memory) <= self.truth
        assert sum(segment.tally("b").errors for segment in self.memory.segments) == 2 * self.total(self.memory)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=examples(60), stateful_step_count=30)
