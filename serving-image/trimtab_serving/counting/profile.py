"""The drift profile: what the training data looked like, in the same bins in which the server counts traffic.

It travels inside the bundle as `profile.json`, so a reference can never be compared with another model's traffic.
The format is written down in docs/contract.md; the toolbox writes it, the server reads it, the operator gets both
sides as counts. A profile that contradicts itself is refused when the pod starts: counts against a wrong
reference would be worse than none.
"""

from __future__ import annotations

import hashlib
import os
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from trimtab_serving.outcome import Failure, Reason

PROFILE_FILE = "profile.json"
MAX_FEATURES = 2048
MAX_EDGES = 256
MAX_CATEGORIES = 256
MAX_REST = 10_000
MAX_MOMENTS = 64
MOMENT_CLIP = 8.0
"""Standardised values are cut at this many deviations before their products are summed: one wrong row in a
million must not hide what the others do. The reference is cut in the same way."""

REST_DIGITS = 12


class Numeric(msgspec.Struct, frozen=True, rename="camel", tag_field="kind", tag="numeric", omit_defaults=True):
    """A number. Cell i counts the values with exactly i edges at or below them (`searchsorted(side="right")`)."""

    name: str
    input: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    deciles: tuple[int, ...]
    """Which edges (by index) are the deciles 10 % to 90 %, doubles left out."""
    inside: tuple[int, int]
    """First and last cell of the range seen in training; everything in cells outside is out of range."""
    n: int
    missing: int
    mean: float
    deviation: float
    column: int | None = None
    importance: float | None = None

    @property
    def cells(self) -> int:
        """How many counts there are besides the missing ones."""
        return len(self.edges) + 1


class Category(msgspec.Struct, frozen=True, rename="camel", tag_field="kind", tag="category", omit_defaults=True):
    """A string or whole number without order. Cells: the categories as listed, then OTHER, then UNSEEN."""

    name: str
    input: str
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    n: int
    missing: int
    rest: tuple[str, ...] | None = ()
    """Short hashes of the categories behind OTHER; None when there were too many: UNSEEN then stays 0."""
    column: int | None = None
    importance: float | None = None

    @property
    def cells(self) -> int:
        """How many counts there are besides the missing ones."""
        return len(self.categories) + 2


class Boolean(msgspec.Struct, frozen=True, rename="camel", tag_field="kind", tag="boolean", omit_defaults=True):
    """True or false. Cells: false, true."""

    name: str
    input: str
    counts: tuple[int, ...]
    n: int
    missing: int
    column: int | None = None
    importance: float | None = None

    @property
    def cells(self) -> int:
        """How many counts there are besides the missing ones."""
        return 2


Feature = Numeric | Category | Boolean


class Score(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The model's own score over rows it was not trained on, and how often it was right there."""

    kind: Literal["positive", "largest", "value"]
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    right: tuple[int, ...] | None = None
    """Calibration: of `counts`, how many rows were truly positive (`positive`) or rightly classed (`largest`)."""


class Predictions(msgspec.Struct, frozen=True):
    """How often each class was predicted, in the order of `classes` of bundle.json."""

    counts: tuple[int, ...]


class Moments(msgspec.Struct, frozen=True):
    """Mean and mean product of the standardised features over the rows that miss none of them."""

    features: tuple[str, ...]
    n: int
    mean: tuple[float, ...]
    matrix: tuple[tuple[float, ...], ...]


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of profile.json, but for the counts by hour (`counting.dated`), which no server needs."""

    rows: int
    features: tuple[Feature, ...]
    schema: Literal[1] = msgspec.field(default=1)
    score: Score | None = None
    predictions: Predictions | None = None
    moments: Moments | None = None


def encode(profile: Profile) -> bytes:
    """The bytes of profile.json: always the same ones for the same profile."""
    content = {"schema": profile.schema, **msgspec.to_builtins(profile)}
    return msgspec.json.encode(content, order="sorted") + b"\n"


def digest_of_profile(content: bytes) -> str:
    """What bundle.json lists as `profile`: sha256:<64 hex> of the file's bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def rest_hash(category: str) -> str:
    """How a category behind OTHER is listed in `rest`: 12 hex digits of its BLAKE2b-64 hash."""
    return hashlib.blake2b(category.encode(), digest_size=8).hexdigest()[:REST_DIGITS]


def decode(content: bytes) -> Profile:
    """Read a profile; ValueError names what contradicts itself."""
    profile = msgspec.json.decode(content, type=Profile)
    check(profile)
    return profile


def check(profile: Profile) -> None:
    """ValueError names what contradicts itself."""
    names = [feature.name for feature in profile.features]
    if len(set(names)) != len(names):
        raise ValueError("features: two have one name")
    if len(names) > MAX_FEATURES:
        raise ValueError(f"features: there are {len(names)}, at most {MAX_FEATURES} are counted")
    for feature in profile.features:
        _check_feature(feature)
    if profile.score is not None:
        _check_edges("score", profile.score.edges, profile.score.counts)
        if profile.score.right is not None and len(profile.score.right) != len(profile.score.counts):
            raise ValueError("score.right: it needs a number for each of score.counts")
    if profile.moments is not None:
        _check_moments(profile.moments, {f.name for f in profile.features if isinstance(f, Numeric)})


def read_profile(directory: str | os.PathLike[str], expected: str | None) -> Profile | None:
    """The bundle's profile, None when bundle.json lists none; BundleInvalid when it cannot be trusted."""
    if expected is None:
        return None
    path = Path(directory, PROFILE_FILE)
    try:
        content = path.read_bytes()
        actual = digest_of_profile(content)
        if actual != expected:
            raise ValueError(f"its digest is {actual}, bundle.json lists {expected}")
        return decode(content)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        message = f"{path} cannot be used: {error}; import the model again"
        raise Failure(Reason.BUNDLE_INVALID, message) from error


def _check_feature(feature: Feature) -> None:
    where = f"feature {feature.name!r}"
    if len(feature.counts) != feature.cells:
        raise ValueError(f"{where}: it has {feature.cells} cells and {len(feature.counts)} counts")
    if sum(feature.counts) + feature.missing != feature.n:
        raise ValueError(f"{where}: counts and missing do not add up to n = {feature.n}")
    if isinstance(feature, Numeric):
        _check_numeric(where, feature)
    elif isinstance(feature, Category):
        if len(feature.categories) > MAX_CATEGORIES or len(set(feature.categories)) != len(feature.categories):
            raise ValueError(f"{where}: more than {MAX_CATEGORIES} categories, or one of them twice")
        if feature.rest is not None and len(feature.rest) > MAX_REST:
            raise ValueError(f"{where}: rest has more than {MAX_REST} hashes; leave it null")


def _check_numeric(where: str, feature: Numeric) -> None:
    _check_edges(where, feature.edges, feature.counts)
    if not 0 <= feature.inside[0] <= feature.inside[1] < feature.cells:
        raise ValueError(f"{where}: inside names cells that do not exist")
    if any(not 0 <= index < len(feature.edges) for index in feature.deciles):
        raise ValueError(f"{where}: deciles names edges that do not exist")
    if not feature.deviation > 0:
        raise ValueError(f"{where}: deviation must be above 0; 1 for a constant")


def _check_edges(where: str, edges: tuple[float, ...], counts: tuple[int, ...]) -> None:
    if not 1 <= len(edges) <= MAX_EDGES:
        raise ValueError(f"{where}: it has {len(edges)} edges; 1 to {MAX_EDGES} are needed")
    if any(lower >= upper for lower, upper in pairwise(edges)):
        raise ValueError(f"{where}: the edges do not grow")
    if len(counts) != len(edges) + 1:
        raise ValueError(f"{where}: {len(edges)} edges make {len(edges) + 1} cells, not {len(counts)}")


def _check_moments(moments: Moments, numeric: set[str]) -> None:
    size = len(moments.features)
    if not 1 <= size <= MAX_MOMENTS:
        raise ValueError(f"moments: it has {size} features; 1 to {MAX_MOMENTS} are taken")
    if not set(moments.features) <= numeric:
        raise ValueError("moments: it names a feature that is not numeric")
    if len(moments.mean) != size or [len(row) for row in moments.matrix] != [size] * size:
        raise ValueError(f"moments: mean and matrix must have {size} rows and columns")
