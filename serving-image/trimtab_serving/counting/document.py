"""GET /trimtab/v1/counts: the sums of all workers, in the contract's words."""

from __future__ import annotations

from typing import Any

import numpy as np

from trimtab_serving.counting.fold import Counts
from trimtab_serving.counting.layout import BUCKETS, CODES, LATENCIES, LATENCY_EDGES, Layout
from trimtab_serving.counting.profile import Numeric

CLASSES = ("2xx", "4xx", "5xx")


def describe_counts(layout: Layout, counts: Counts) -> dict[str, Any]:
    """The counts of requests and rows; what the bundle has no reference for is left out."""
    whole, sums = counts
    told: dict[str, Any] = {
        "requests": _requests(whole[layout.requests].reshape(len(CODES), LATENCIES), float(sums[0])),
        "rows": int(whole[layout.rows][0]),
        "buckets": {"n": BUCKETS, "rows": whole[layout.bucket_rows].tolist()},
        "typeErrors": {
            tensor.name: count for tensor, count in zip(layout.inputs, whole[layout.type_errors].tolist(), strict=True)
        },
    }
    if layout.classes:
        told["predictions"] = {"classes": layout.classes, "counts": whole[layout.predicted].tolist()}
    if layout.score:
        cells = whole[layout.scores].tolist()
        told["score"] = {"kind": layout.score.kind, "edges": layout.score.edges, "counts": cells}
    if layout.features:
        told["features"] = _features(layout, counts)
    if layout.moments:
        size = len(layout.moments.features)
        products = sums[layout.moment_products].reshape(size, size)
        told["moments"] = {
            "features": layout.moments.features,
            "n": int(whole[layout.moment_rows][0]),
            "sum": sums[layout.moment_sums].tolist(),
            "products": products.tolist(),
        }
    return told


def _requests(table: Any, seconds: float) -> dict[str, Any]:
    hundreds = np.array(CODES) // 100
    by_class = {name: table[hundreds == int(name[0])].sum(axis=0) for name in CLASSES}
    codes = {str(code): int(row.sum()) for code, row in zip(CODES, table, strict=True) if row.any()}
    return {
        "classes": {name: int(row.sum()) for name, row in by_class.items()},
        "codes": codes,
        "latency": {"edges": LATENCY_EDGES, **{name: row.tolist() for name, row in by_class.items()}},
        "seconds": seconds,
    }


def _features(layout: Layout, counts: Counts) -> list[dict[str, Any]]:
    cells = counts.whole[layout.cells].tolist()
    missing = counts.whole[layout.missing].tolist()
    told, start = [], 0
    for feature, absent in zip(layout.features, missing, strict=True):
        own = cells[start : start + feature.cells]
        entry: dict[str, Any] = {"name": feature.name, "kind": _kind(feature), "counts": own, "missing": absent}
        if isinstance(feature, Numeric):
            first, last = feature.inside
            entry["outOfRange"] = sum(own[:first]) + sum(own[last + 1 :])
        elif _kind(feature) == "category":
            entry["unseen"] = own[-1]
        told.append(entry)
        start += feature.cells
    return told


def _kind(feature: object) -> str:
    return type(feature).__name__.lower()
