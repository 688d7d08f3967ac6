"""A short run of the fuzzer, and proof that it would notice."""

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings

from bench import fuzz
from bench.mutations import RIGHT, requests
from tests.thorough import examples
from trimtab_serving.protocol.datatypes import Array


def test_mutated_requests_are_answered_and_never_with_5xx() -> None:
    count = examples(400)
    told = fuzz.run(count, first=1)
    assert sum(told.statuses.values()) >= count
    assert told.statuses[200] > count / 20
    assert told.statuses[400] > count / 4


class Careless(fuzz.Rule):
    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        if len(inputs["age"]) == 2:
            raise KeyError("a fault of the model")
        return super().run(inputs, outputs)


def test_a_fault_of_the_server_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "Rule", Careless)
    with pytest.raises(AssertionError, match=r"500: .*the server failed on this request"):
        fuzz.run(2000, first=1)


@given(requests())
@settings(max_examples=examples(200), deadline=None, suppress_health_check=list(HealthCheck))
def test_mutations_stay_near_what_is_right(sent: object) -> None:
    assert isinstance(sent, fuzz.Sent)
    assert sent.path in {path for path, _, _ in RIGHT}
