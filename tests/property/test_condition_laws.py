"""Laws of conditions, for any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from string import ascii_letters

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core import conditions
from trimtab.core.api import ConditionStatus
from trimtab.core.conditions import Condition
from trimtab.core.objects import Object

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
types = st.sampled_from(["Ready", "Reconciling", "Stalled", "Available", "Resolved", "ModelResolved"])
wanted_lists = st.lists(
    st.builds(
        Condition,
        types,
        st.sampled_from(["True", "False", "Unknown"]),
        st.text(ascii_letters, min_size=1, max_size=21).map(str.capitalize),
        st.text(max_size=60),
    ),
    unique_by=lambda item: item.type,
    max_size=6,
)
generations = st.integers(1, 1_000)


@st.composite
def histories(draw: st.DrawFn) -> list[Object]:
    """Whatever a number of passes may have left behind."""
    found: list[Object] = []
    for hours, wanted in enumerate(draw(st.lists(wanted_lists, max_size=4))):
        found = conditions.merge(found, wanted, draw(generations), START + hours * HOUR)
    return found


@given(histories(), wanted_lists, generations)
def test_the_same_verdict_again_changes_nothing_however_late(
    previous: list[Object], wanted: list[Condition], generation: int
) -> None:
    once = conditions.merge(previous, wanted, generation, START + 10 * HOUR)
    assert conditions.merge(once, wanted, generation, START + 20 * HOUR) == once
    assert conditions.transition(once, once) == ()


@given(histories(), wanted_lists, generations)
def test_a_time_changes_exactly_when_its_status_does(
    previous: list[Object], wanted: list[Condition], generation: int
) -> None:
    before = {item["type"]: item for item in previous}
    now = START + 10 * HOUR
    for item in conditions.merge(previous, wanted, generation, now):
        old = before.get(item["type"])
        same = old is not None and old["status"] == item["status"]
        assert item["lastTransitionTime"] == (old["lastTransitionTime"] if old and same else conditions.timestamp(now))


@given(histories(), wanted_lists, generations)
def test_what_is_wanted_is_written_once_in_order_and_as_the_schema_has_it(
    previous: list[Object], wanted: list[Condition], generation: int
) -> None:
    merged = conditions.merge(previous, wanted, generation, START)
    written = [item["type"] for item in merged]
    assert sorted(written) == sorted(item.type for item in wanted)
    assert "Ready" not in written[1:]
    assert written[1:] == sorted(written[1:])
    assert [ConditionStatus.model_validate(item).dump() for item in merged] == merged


@given(wanted_lists, st.permutations(range(6)), generations)
def test_the_order_of_judging_does_not_matter(wanted: list[Condition], order: list[int], generation: int) -> None:
    shuffled = [wanted[index] for index in order if index < len(wanted)]
    assert conditions.merge([], shuffled, generation, START) == conditions.merge([], wanted, generation, START)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_survive_being_written_to_the_second(moment: datetime) -> None:
    assert conditions.parse_time(conditions.timestamp(moment)) == moment.replace(microsecond=0)
