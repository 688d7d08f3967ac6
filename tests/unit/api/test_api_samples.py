"""Schema and rules, evaluated without an API server, come to the verdicts of the tables."""

from __future__ import annotations

import pytest

from tests import crdcheck, samples
from tests.samples.breaches import breaches
from trimtab.core.divergence import contains
from trimtab.kinds import KINDS

MESSAGES = {rule["message"] for kind in crdcheck.definitions() for _, rule in crdcheck.rules(crdcheck.schema_of(kind))}


@pytest.mark.parametrize("row", samples.bad(), ids=lambda row: row.name)
def test_bad_manifests_are_refused_and_by_the_rule_that_was_meant(row: samples.Bad) -> None:
    found = crdcheck.violations(row.manifest)
    assert found
    if any(row.fix in message for message in MESSAGES):
        assert any(row.fix in item for item in found), found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_bound_of_every_field_is_kept(kind: str) -> None:
    found = breaches(kind)
    assert len(found) > 20
    assert [breach.name for breach in found if not crdcheck.violations(breach.manifest)] == []


@pytest.mark.parametrize("row", samples.good(), ids=lambda row: row.name)
def test_good_manifests_are_taken(row: samples.Good) -> None:
    assert crdcheck.violations(row.manifest) == []
    assert contains(crdcheck.defaulted(row.manifest)["spec"], row.becomes)


@pytest.mark.parametrize("row", samples.good(), ids=lambda row: row.name)
def test_the_operator_reads_good_manifests_with_the_same_defaults(row: samples.Good) -> None:
    parse = KINDS[row.manifest["kind"]].parse
    manifest = {"metadata": {"name": "sample"}, **row.manifest}
    assert parse(manifest).spec == parse(crdcheck.defaulted(manifest)).spec


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_operator_reads_what_a_later_schema_added(kind: str) -> None:
    row = next(row for row in samples.good() if row.manifest["kind"] == kind)
    later = {**row.manifest, "spec": {**row.manifest["spec"], "fieldOfTomorrow": {"a": 1}}}
    assert KINDS[kind].parse(later).spec == KINDS[kind].parse(row.manifest).spec
