"""The drift profile: the same bytes for the same content, and refused when it contradicts itself."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from trimtab_serving.bundle import BundleInfo, Tensor
from trimtab_serving.counting.profile import (
    Boolean,
    Category,
    Moments,
    Numeric,
    Predictions,
    Profile,
    Score,
    decode,
    digest_of_profile,
    encode,
    read_profile,
    rest_hash,
)
from trimtab_serving.counting.rows import check_features
from trimtab_serving.outcome import Failure

AGE = Numeric("age", "x", (18.0, 40.0), (0, 5, 4), (1,), (1, 1), 10, 1, 35.0, 9.0, column=0, importance=0.7)
CITY = Category("city", "city", ("Ulm",), (6, 3, 0), 10, 1, rest=(rest_hash("Rom"),))
OWN = Boolean("own", "own", (4, 6), 10, 0)
PROFILE = Profile(
    rows=10,
    features=(AGE, CITY, OWN),
    score=Score("positive", (0.5,), (7, 3), right=(1, 3)),
    predictions=Predictions((7, 3)),
    moments=Moments(("age",), 9, (0.0,), ((1.0,),)),
)


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    content = encode(PROFILE)
    assert content == encode(decode(content))
    assert decode(content) == PROFILE
    (tmp_path / "profile.json").write_bytes(content)
    assert read_profile(tmp_path, digest_of_profile(content)) == PROFILE
    assert read_profile(tmp_path, None) is None


def test_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_bytes(encode(PROFILE))
    with pytest.raises(Failure, match=r"profile\.json cannot be used: its digest is .*; import the model again"):
        read_profile(tmp_path, "sha256:" + "0" * 64)


def test_a_listed_profile_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"BundleInvalid: .*profile\.json cannot be used: .*No such file"):
        read_profile(tmp_path, "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": (AGE, AGE)}, "features: two have one name"),
        ({"features": ({"edges": (40.0, 18.0)},)}, "feature 'age': the edges do not grow"),
        ({"features": ({"edges": (18.0, float("nan")), "counts": (0, 9, 0)},)}, "Expected `float`, got `null`"),
        ({"features": ({"counts": (5, 4)},)}, "feature 'age': it has 3 cells and 2 counts"),
        ({"features": ({"counts": (0, 5, 5)},)}, "feature 'age': counts and missing do not add up to n = 10"),
        ({"features": ({"inside": (1, 3)},)}, "feature 'age': inside names cells that do not exist"),
        ({"features": ({"deciles": (2,)},)}, "feature 'age': deciles names edges that do not exist"),
        ({"features": ({"deviation": 0.0},)}, "feature 'age': deviation must be above 0; 1 for a constant"),
        ({"score": Score("value", (), (1,))}, "score: it has 0 edges"),
        ({"score": Score("value", (1.0,), (1, 2), right=(1,))}, "score.right: it needs a number for each"),
        ({"moments": Moments(("city",), 9, (0.0,), ((1.0,),))}, "moments: it names a feature that is not numeric"),
        ({"moments": Moments(("age",), 9, (0.0,), ())}, "moments: mean and matrix must have 1 rows and columns"),
        ({"moments": Moments((), 9, (), ())}, "moments: it has 0 features; 1 to 64 are taken"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], message: str) -> None:
    if isinstance(change.get("features", (AGE,))[0], dict):
        change = {"features": (msgspec.structs.replace(AGE, **change["features"][0]),), "moments": None}
    content = encode(msgspec.structs.replace(PROFILE, **change))
    with pytest.raises(ValueError, match=message):
        decode(content)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (AGE, None),
        (msgspec.structs.replace(AGE, column=2), "feature 'age': input 'x' has no column 2"),
        (msgspec.structs.replace(AGE, column=None), "feature 'age': input 'x' has no column None"),
        (msgspec.structs.replace(AGE, input="y"), "feature 'age' is of input 'y', which the model does not have"),
        (OWN, None),
    ],
)
def test_a_profile_of_another_model_is_found_out(feature: Any, message: str | None) -> None:
    inputs = (Tensor("x", "FP32", (-1, 2)), Tensor("own", "BOOL", (-1, 1)))
    info = BundleInfo("ONNX", "onnx", "onnx", inputs, (Tensor("y", "FP32", (-1,)),))
    if message is None:
        check_features([feature], info)
    else:
        with pytest.raises(ValueError, match=message):
            check_features([feature], info)
