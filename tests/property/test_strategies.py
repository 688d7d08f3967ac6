"""What the strategies draw is what the API server would take, and what the operator can read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import crdcheck
from tests.property import strategies
from tests.thorough import examples
from trimtab.kinds import KINDS

kinds = pytest.mark.parametrize("kind", sorted(KINDS))


@kinds
@given(data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_objects_are_valid_and_keep_their_meaning_when_read(kind: str, data: st.DataObject) -> None:
    drawn = data.draw(strategies.objects(kind))
    assert crdcheck.violations(drawn) == []
    parsed = KINDS[kind].parse(drawn)
    assert KINDS[kind].parse({**drawn, "spec": parsed.spec.dump()}) == parsed


@kinds
@given(data=st.data())
@settings(max_examples=examples(20), deadline=None)
def test_a_status_survives_being_read_and_written(kind: str, data: st.DataObject) -> None:
    spec, status = data.draw(strategies.objects(kind)), data.draw(strategies.statuses(kind))
    assert crdcheck.violations({**spec, "status": status}) == []
    parsed = KINDS[kind].parse({**spec, "status": status})
    written = parsed.status.dump()
    assert crdcheck.violations({**spec, "status": written}) == []
    assert KINDS[kind].parse({**spec, "status": written}).status == parsed.status


@kinds
def test_every_field_of_the_spec_is_drawn_sooner_or_later(kind: str) -> None:
    seen: set[str] = set()

    @given(strategies.specs(kind))
    @settings(max_examples=examples(120), deadline=None, database=None)
    def collect(spec: dict[str, object]) -> None:
        seen.update(spec)

    collect()
    assert seen == set(crdcheck.schema_of(kind)["properties"]["spec"]["properties"])
