"""Bundles for any content: packing is a function of the files alone, and unpacking is its inverse."""

import io
import json
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.thorough import examples
from trimtab_serving.bundle import digest_of, pack, unpack
from trimtab_serving.outcome import MAX_RESULT_BYTES, Failure, Reason, fit

NAMES = st.text("abcé .-_0", min_size=1, max_size=60).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=2000), min_size=1, max_size=6).filter(
    lambda tree: not any(f"{one}/" in other for one in tree for other in tree)
)


def write(root: Path, tree: dict[str, bytes], order: list[str]) -> Path:
    for name in order:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(tree[name])
    return root


def packed(root: Path) -> tuple[str, bytes]:
    into = io.BytesIO()
    return pack(root, into), into.getvalue()


@given(TREES, st.randoms())
@settings(deadline=None, max_examples=examples(60))
def test_pack_and_unpack(tree: dict[str, bytes], order: random.Random) -> None:
    shuffled = list(tree)
    order.shuffle(shuffled)
    with tempfile.TemporaryDirectory() as parent:
        digest, content = packed(write(Path(parent, "a"), tree, list(tree)))
        assert (digest, content) == packed(write(Path(parent, "b"), tree, shuffled))

        root = Path(parent, "c")
        root.mkdir()
        assert unpack(io.BytesIO(content), root) == len(tree)
        assert {name: (root / name).read_bytes() for name in tree} == tree
        assert digest_of(root) == digest


def outcome(content: bytes, root: Path) -> Reason | None:
    try:
        unpack(io.BytesIO(content), root)
    except Failure as failure:
        return failure.reason
    return None


@given(TREES, st.data())
@settings(deadline=None, max_examples=examples(60))
def test_a_damaged_tar_is_refused_or_harmless(tree: dict[str, bytes], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as source:
        content = bytearray(packed(write(Path(source), tree, list(tree)))[1])
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as parent:
        root = Path(parent, "root")
        root.mkdir()
        assert outcome(bytes(content), root) in (
            None,
            Reason.BUNDLE_INVALID,
            Reason.UNSAFE_ARCHIVE,
            Reason.TOO_LARGE,
        )
        assert [path.name for path in Path(parent).iterdir()] == ["root"]


@given(
    st.text(max_size=9000),
    st.text(max_size=3000),
    st.lists(st.lists(st.text(max_size=30), max_size=400), max_size=3),
)
@settings(deadline=None, max_examples=examples(60))
def test_last_words_always_fit(message: str, fallback: str, columns: list[list[str]]) -> None:
    inputs = [{"name": "x", "columns": names} for names in columns]
    encoded = fit({"schema": 1, "message": message, "fallback": fallback, "inputs": inputs})
    assert len(encoded) <= MAX_RESULT_BYTES
    for given_names, tensor in zip(columns, json.loads(encoded)["inputs"], strict=True):
        assert len(tensor["columns"]) + tensor.get("columnsOmitted", 0) == len(given_names)
