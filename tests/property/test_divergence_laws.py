"""Laws of "does what is there still say what we want?", for any manifest."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from operator import itemgetter
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from trimtab.core.divergence import ATOMIC, LIST_KEYS, QUANTITY_FIELDS, SUFFIXES, contains, quantity

MERGE_KEYS = sorted({key for keys in LIST_KEYS.values() for key in keys})
scalars = st.one_of(st.booleans(), st.integers(-(2**31), 2**31), st.text(max_size=8))
keys = st.one_of(st.sampled_from(["spec", "env", "limits", "requests", "a", "b"]), st.text(min_size=1, max_size=6))
named = st.builds(
    lambda key, value, more: {**more, key: value},
    st.sampled_from(MERGE_KEYS),
    st.text(min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(["value", "protocol", "x"]), scalars, max_size=2),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(named, max_size=3),
        st.dictionaries(keys.filter(lambda key: key not in MERGE_KEYS), inner, max_size=4),
    ),
    max_leaves=12,
)
manifests = st.dictionaries(keys.filter(lambda key: key not in MERGE_KEYS), values, min_size=1, max_size=4)
Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*path, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


@given(manifests)
def test_everything_contains_itself(manifest: Any) -> None:
    assert contains(copy.deepcopy(manifest), manifest)


@given(manifests, st.data())
def test_what_others_add_to_structs_is_theirs(manifest: Any, data: st.DataObject) -> None:
    observed = copy.deepcopy(manifest)
    structs = [path for path, value in places(manifest) if isinstance(value, dict)]
    for path in data.draw(st.lists(st.sampled_from(structs), max_size=3)):
        struct = at(observed, path)
        added = data.draw(st.dictionaries(st.text(min_size=1, max_size=6), scalars, max_size=2))
        struct.update({key: value for key, value in added.items() if key not in struct})
    assert contains(observed, manifest)


@given(
    st.sampled_from(sorted(LIST_KEYS)),
    st.lists(st.tuples(st.text(), scalars), min_size=1, unique_by=itemgetter(0)),
    st.data(),
)
def test_entries_that_others_add_to_lists_with_keys_are_theirs(
    place: str, entries: list[tuple[str, Any]], data: st.DataObject
) -> None:
    parent, _, field = place.rpartition(".")
    observed = [{**dict.fromkeys(LIST_KEYS[place], name), "value": value} for name, value in entries]
    wanted = data.draw(st.lists(st.sampled_from(observed), min_size=1, unique_by=itemgetter(LIST_KEYS[place][0])))
    there = data.draw(st.permutations(observed))
    assert contains({parent: {field: there}}, {parent: {field: wanted}})


@given(st.sampled_from(["ports", "metrics", "tolerations", "ingress"]), st.lists(scalars, min_size=1), scalars)
def test_a_list_without_keys_is_one_piece(field: str, entries: list[Any], added: Any) -> None:
    named = [{"name": str(n), "value": value} for n, value in enumerate(entries)]
    assert contains({field: named}, {field: named})
    assert not contains({field: [*named, {"name": "more", "value": added}]}, {field: named})


@given(st.sampled_from(sorted(ATOMIC)), st.dictionaries(keys, scalars, min_size=1), st.text(min_size=7), scalars)
def test_a_selector_is_one_piece(field: str, labels: dict[str, Any], name: str, added: Any) -> None:
    assert contains({field: dict(labels)}, {field: labels})
    assert not contains({field: {**labels, name: added}}, {field: labels})


@given(manifests, st.data())
def test_a_change_of_any_leaf_is_seen(manifest: Any, data: st.DataObject) -> None:
    leaves = [path for path, value in places(manifest) if not isinstance(value, dict | list)]
    assume(leaves)
    path = data.draw(st.sampled_from(leaves))
    observed = copy.deepcopy(manifest)
    at(observed, path[:-1])[path[-1]] = f"{at(manifest, path)}, edited"
    assert not contains(observed, manifest)


@given(manifests, st.data())
def test_a_loss_of_anything_is_seen(manifest: Any, data: st.DataObject) -> None:
    paths = [path for path, _ in places(manifest) if path]
    path = data.draw(st.sampled_from(paths))
    observed = copy.deepcopy(manifest)
    del at(observed, path[:-1])[path[-1]]
    assert not contains(observed, manifest)


@given(st.integers(1, 10**6), st.sampled_from(sorted(QUANTITY_FIELDS)), st.sampled_from(["cpu", "memory"]))
def test_a_quantity_written_differently_is_the_same(number: int, field: str, name: str) -> None:
    forms = [number, str(number), f"{number}.0", f"{number * 1_000}m", f"{number}000000u", f"{number}e0"]
    forms += [f"{Decimal(number) / 1_000}k", f"{Decimal(number) / 1_024}Ki"]
    for one in forms:
        assert all(contains({field: {name: one}}, {field: {name: other}}) for other in forms)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from(sorted(QUANTITY_FIELDS)))
def test_another_quantity_is_another(one: int, other: int, field: str) -> None:
    assume(one != other)
    assert not contains({field: {"cpu": f"{one}m"}}, {field: {"cpu": f"{other}m"}})


@given(st.decimals(0, 10**6, places=3), st.sampled_from(sorted(SUFFIXES)))
@settings(max_examples=examples(60))
def test_a_suffix_is_a_factor(number: Decimal, suffix: str) -> None:
    assert quantity(f"{number}{suffix}") == number * SUFFIXES[suffix]
