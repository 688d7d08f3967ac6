"""What users get wrong is refused by the API server itself, in words that say how to mend it."""

from __future__ import annotations

import pytest
import yaml

from tests import samples
from tests.apiclient import apply
from tests.controlplane import ControlPlane
from tests.samples.breaches import Breach, breaches
from trimtab.kinds import KINDS

BAD = samples.bad()
BREACHES = [breach for kind in sorted(KINDS) for breach in breaches(kind)]


@pytest.mark.parametrize("row", BAD, ids=lambda row: row.name)
def test_is_refused_with_a_message_that_tells_the_fix(plane: ControlPlane, row: samples.Bad) -> None:
    answer = apply(plane, row.manifest, "default", dryRun="All", force="true")
    # An apply that does not fit the schema's types is answered with 500, not 4xx; the message is what counts.
    assert answer.status in (400, 422, 500), f"accepted: {answer.body}"
    assert row.where in answer.message
    assert row.fix in answer.message


@pytest.mark.parametrize("breach", BREACHES, ids=lambda breach: breach.name)
def test_every_bound_of_every_field_is_kept(plane: ControlPlane, breach: Breach) -> None:
    answer = apply(plane, breach.manifest, "default", dryRun="All", force="true")
    assert answer.status in (400, 422, 500), f"accepted: {answer.body}"
    assert breach.field in answer.message
    assert any(words in answer.message for words in breach.words), answer.message


def test_the_table_is_as_long_as_promised() -> None:
    assert len(BAD) >= 60
    assert {row.manifest["kind"] for row in BAD} == set(KINDS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("registry stage", "must be models:/NAME@ALIAS"),
        ("misspelt replicas", 'unknown field "spec.replica"'),
        ("negative replicas", "should be greater than or equal to 0"),
        ("the same variable twice", 'spec.env[1]: Duplicate value: {"name":"A"}'),
    ],
)
def test_kubectl_shows_it_to_who_applies_without_server_side(
    plane: ControlPlane, namespace: str, name: str, words: str
) -> None:
    manifest = next(row.manifest for row in BAD if row.name == name)
    done = plane.kubectl("apply", "--namespace", namespace, "--filename", "-", stdin=yaml.safe_dump(manifest))
    assert done.returncode == 1
    assert words in done.stderr
