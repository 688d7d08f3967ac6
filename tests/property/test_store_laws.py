"""The picture in memory is the same in whatever order, and however often, it was told."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from trimtab.core.objects import Object, Ref
from trimtab.kinds import KINDS
from trimtab.runtime.store import Store

NAMES = ("a", "b")
KINDS_SEEN = ("ModelDeployment", "MLModel", "Deployment", "Pod")
Told = tuple[Object, bool]
refs = st.builds(Ref, st.sampled_from(KINDS_SEEN), st.just("ns"), st.sampled_from(NAMES))


def store() -> Store:
    return Store.of(KINDS)


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    """What happened in a cluster: objects made, changed, deleted and made again, each at a version of its own."""
    told: list[Told] = []
    alive: dict[Ref, Object] = {}
    for version in range(1, draw(st.integers(1, 15))):
        ref = draw(refs)
        gone = ref in alive and draw(st.booleans())
        obj = _at(alive[ref] if gone else _object(draw, ref), version)
        alive[ref] = obj
        if gone:
            del alive[ref]
        told.append((obj, gone))
    return told


def _object(draw: st.DrawFn, ref: Ref) -> Object:
    meta: dict[str, Any] = {"name": ref.name, "namespace": "ns", "uid": f"{ref.kind}-{draw(st.integers(0, 2))}"}
    if ref.kind in ("Deployment", "Pod"):
        meta["labels"] = {"trimtab.dev/deployment": draw(st.sampled_from(NAMES))}
        owner = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "ModelDeployment", "controller": True}
        name = draw(st.sampled_from(NAMES))
        meta["ownerReferences"] = [{**owner, "name": name, "uid": f"ModelDeployment-{draw(st.integers(0, 2))}"}]
    spec = {"model": {"name": draw(st.sampled_from(NAMES))}} if ref.kind == "ModelDeployment" else {}
    return {"apiVersion": "v1", "kind": ref.kind, "metadata": meta, "spec": spec}


def _at(obj: Object, version: int) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}


def picture(held: Store) -> dict[str, Any]:
    """All that anybody can ask of a store; the last question changes it."""
    found: dict[str, Any] = {"objects": {ref: held.get(ref) for kind in KINDS_SEEN for ref in held.refs(kind)}}
    for number in range(3):
        uid = f"ModelDeployment-{number}"
        found[f"children of {uid}"] = held.children(uid)
        found[f"deployments of {uid}"] = held.children(uid, "Deployment")
    for name in NAMES:
        found[f"pods of {name}"] = held.pods("trimtab.dev/deployment", "ns", name)
    for name in NAMES:
        meta = {"name": name, "namespace": "ns", "uid": "new", "resourceVersion": "1000"}
        found[f"referrers of {name}"] = set(held.absorb({"apiVersion": "v1", "kind": "MLModel", "metadata": meta}))
    return found


@given(histories(), st.data())
@settings(max_examples=examples(100), derandomize=True, deadline=None)
def test_order_and_repetition_do_not_matter(history: list[Told], data: st.DataObject) -> None:
    straight, crooked = store(), store()
    for obj, gone in history:
        straight.absorb(obj, gone=gone)
    repeated = history + data.draw(st.lists(st.sampled_from(history), max_size=5)) if history else []
    for obj, gone in data.draw(st.permutations(repeated)):
        crooked.absorb(obj, gone=gone)
    assert picture(crooked) == picture(straight)


@given(histories(), st.data())
@settings(max_examples=examples(100), derandomize=True, deadline=None)
def test_a_list_makes_good_whatever_was_missed(history: list[Told], data: st.DataObject) -> None:
    straight, deaf = store(), store()
    for obj, gone in history:
        straight.absorb(obj, gone=gone)
        if data.draw(st.booleans()):
            deaf.absorb(obj, gone=gone)
    relist(deaf, straight, version=len(history))
    assert picture(deaf) == picture(straight)


def relist(held: Store, truth: Store, version: int) -> None:
    for kind in KINDS_SEEN:
        present = set(truth.refs(kind))
        for ref in present:
            obj = truth.get(ref)
            assert obj is not None
            held.absorb(obj)
        held.retain(kind, None, present, version)


@given(histories())
@settings(max_examples=examples(100), derandomize=True, deadline=None)
def test_whoever_is_concerned_is_told(history: list[Told]) -> None:
    """The object itself, its owner before and after, and whoever refers to it."""
    held = store()
    for obj, gone in history:
        ref = Ref(obj["kind"], "ns", obj["metadata"]["name"])
        before = held.get(ref)
        told = held.absorb(obj, gone=gone)
        if ref.kind in KINDS:
            assert ref in told
        for state in (before, obj):
            for owner in (state or obj)["metadata"].get("ownerReferences", ()):
                assert Ref(owner["kind"], "ns", owner["name"]) in told
        if ref.kind == "MLModel":
            users = [held.get(user) for user in held.refs("ModelDeployment")]
            named = {Ref("ModelDeployment", "ns", u["metadata"]["name"]) for u in users if u and _uses(u, ref.name)}
            assert named <= told


def _uses(mdep: Object, model: str) -> bool:
    return bool(mdep["spec"]["model"]["name"] == model)
