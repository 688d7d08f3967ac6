"""Hypothesis strategies for objects of every kind, drawn from the generated schemas.

What a strategy draws is what the API server would take: fields come from the schema with its bounds and
patterns, and the few rules that tie fields together are kept by construction. A test holds them to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests import crdcheck
from trimtab.core.api import DNS_LABEL, NAME_LIMIT
from trimtab.core.divergence import quantity
from trimtab.core.objects import API_VERSION, Object

Build = Callable[[crdcheck.Schema], SearchStrategy[Any]]
# Long texts and lists find no more faults than short ones, and cost much more.
TEXT, ITEMS = 24, 3
PATTERN = re.compile(r"self\.matches\(r'(.*)'\)")
LATEST_GENERATION = 1_000
OURS_LEFT_OUT: Object = {"auth": {}, "batching": {}, "grpc": {}, "feedback": {}, "monitoring": {}}

# A letter, what may follow it and what it may end with: most patterns of an API are of this form.
NAMES = re.compile(r"\^(\(?)\[([^]]+)\]\(\[([^]]+)\]\*\[([^]]+)\]\)\?(?:\)\?)?\$")


@cache
def named(pattern: str, longest: int) -> SearchStrategy[str]:
    """Texts of a pattern of the form of `NAMES`; to draw from a regular expression takes three times as long."""
    found = NAMES.fullmatch(pattern)
    assert found is not None, pattern
    first, inner, last = (_letters(group) for group in found.groups()[1:])
    inside_alone = "".join(set(inner) - set(last))
    rest = st.text(inner, max_size=longest - 1).map(lambda text: text.rstrip(inside_alone))
    drawn = st.tuples(st.sampled_from(first), rest).map("".join)
    return st.one_of(st.just(""), drawn) if found[1] else drawn


def _letters(group: str) -> str:
    """The letters of a group of a pattern, in order."""
    return "".join(re.findall(f"[{group}]", "".join(map(chr, range(33, 127)))))


names = named(DNS_LABEL, NAME_LIMIT)
digests = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
quantities = st.one_of(
    st.integers(1, 64),
    st.integers(1, 64).map(str),
    st.builds("{}{}".format, st.integers(1, 999), st.sampled_from(["m", "k", "Ki", "M", "Mi", "Gi"])),
    st.integers(1, 99).map(lambda hundredths: f"{hundredths / 100}"),
)


@cache
def objects(kind: str) -> SearchStrategy[Object]:
    """Objects as a watch would deliver them before anything has been done: metadata and spec."""
    return st.fixed_dictionaries(
        {
            "apiVersion": st.just(API_VERSION),
            "kind": st.just(kind),
            "metadata": st.fixed_dictionaries(
                {
                    "name": names,
                    "namespace": names,
                    "uid": st.uuids().map(str),
                    "resourceVersion": st.integers(1, 10**6).map(str),
                    "generation": st.integers(1, LATEST_GENERATION),
                }
            ),
            "spec": specs(kind),
        }
    )


@cache
def specs(kind: str) -> SearchStrategy[Object]:
    """Valid specs with the defaults filled in, as the API server stores them."""
    schema = crdcheck.schema_of(kind)["properties"]["spec"]
    drawn = _experiment(schema) if kind == "ABTest" else from_schema(schema)
    whole = drawn.map(lambda spec: crdcheck.defaulted({"kind": kind, "spec": spec})["spec"])
    if kind == "RetrainSchedule":
        return whole.map(_in_one_line)
    return whole.map(_servable).map(_measurable).map(_routable) if kind == "ModelDeployment" else whole


@cache
def statuses(kind: str) -> SearchStrategy[Object]:
    """Statuses that fit the schema; nothing says that they make sense."""
    return from_schema(crdcheck.schema_of(kind)["properties"]["status"])


def from_schema(node: crdcheck.Schema, path: str = "") -> SearchStrategy[Any]:
    """Values of a structural schema; where a rule ties fields together, the strategy of that place."""
    for place, build in TIED.items():
        if path.endswith(place) and node.get("type") == "object":
            return build(node)
    if node.get("x-kubernetes-int-or-string"):
        return quantities
    if "enum" in node:
        return st.sampled_from(node["enum"])
    return TYPES[node["type"]](node, path)


def _text(node: crdcheck.Schema, path: str) -> SearchStrategy[str]:
    if node.get("format") == "date-time":
        return st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ").zfill(20))
    longest, shortest = node["maxLength"], node.get("minLength", 0)
    patterns = [found[1] for found in map(PATTERN.fullmatch, _rules(node)) if found]
    pattern = node.get("pattern") or next(iter(patterns), None)
    if pattern is None:
        letters = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
        return st.text(letters, min_size=shortest, max_size=min(longest, TEXT))
    if pattern.lstrip("^(").startswith("sha256:"):
        return digests if "?$" not in pattern else st.one_of(st.just(""), digests)
    if NAMES.fullmatch(pattern):
        return named(pattern, min(longest, TEXT)).filter(lambda text: shortest <= len(text))
    ascii_only = st.characters(min_codepoint=33, max_codepoint=126)
    # One alternative at a time: a draw from all of them at once seldom finds its way through any.
    alternatives = [part.strip("^$") for part in pattern.split("$|^")]
    drawn = st.one_of(
        st.from_regex(re.compile(part, re.ASCII), fullmatch=True, alphabet=ascii_only) for part in alternatives
    )
    return drawn.filter(lambda text: shortest <= len(text) <= longest)


def _rules(node: crdcheck.Schema) -> list[str]:
    return [item["rule"] for item in node.get("x-kubernetes-validations", ())]


def _integer(node: crdcheck.Schema, path: str) -> SearchStrategy[int]:
    return st.integers(node.get("minimum", -(2**31)), node.get("maximum", 2**31 - 1))


def _list(node: crdcheck.Schema, path: str) -> SearchStrategy[list[Any]]:
    items, keys = from_schema(node["items"], f"{path}[]"), node.get("x-kubernetes-list-map-keys")
    unique = (lambda item: tuple(item[key] for key in keys)) if keys else None
    return st.lists(items, min_size=node.get("minItems", 0), max_size=min(node["maxItems"], ITEMS), unique_by=unique)


def _struct(node: crdcheck.Schema, path: str) -> SearchStrategy[Object]:
    if "properties" in node:
        fields = {name: from_schema(child, f"{path}.{name}") for name, child in node["properties"].items()}
        required = {name: fields.pop(name) for name in node.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    if "additionalProperties" in node:
        values = from_schema(node["additionalProperties"], f"{path}.*")
        keys = st.from_regex(r"[a-z]{1,8}([.][a-z]{1,8})?/[a-z]{1,8}|[a-z]{1,8}", fullmatch=True)
        return st.dictionaries(keys, values, max_size=min(node["maxProperties"], ITEMS))
    return st.just({})


TYPES: Mapping[str, Callable[[crdcheck.Schema, str], SearchStrategy[Any]]] = {
    "string": _text,
    "integer": _integer,
    "boolean": lambda node, path: st.booleans(),
    "array": _list,
    "object": _struct,
}


def _autoscaling(node: crdcheck.Schema) -> SearchStrategy[Object]:
    def ordered(drawn: Object) -> Object:
        least, most = sorted((drawn.get("minReplicas", 1), drawn["maxReplicas"]))
        return {**drawn, "minReplicas": least, "maxReplicas": most}

    return _struct(node, "autoscaling").map(ordered)


def _source(node: crdcheck.Schema) -> SearchStrategy[Object]:
    def consistent(drawn: Object) -> Object:
        return {**drawn, "digest": ""} if drawn["uri"].startswith("models:/") else drawn

    return _struct(node, "source").map(consistent)


def _toleration(node: crdcheck.Schema) -> SearchStrategy[Object]:
    def consistent(drawn: Object) -> Object:
        if not drawn.get("key"):
            drawn = {**drawn, "operator": "Exists"}
        without = {"value"} if drawn.get("operator") == "Exists" else set()
        without |= {"tolerationSeconds"} if drawn.get("effect") != "NoExecute" else set()
        return {key: value for key, value in drawn.items() if key not in without}

    return _struct(node, "toleration").map(consistent)


def _requirement(node: crdcheck.Schema) -> SearchStrategy[Object]:
    def consistent(drawn: Object) -> Object:
        drawn = {key: value for key, value in drawn.items() if key != "values"}
        if drawn["operator"] in ("Exists", "DoesNotExist"):
            return drawn
        return {**drawn, "values": ["5"] if drawn["operator"] in ("Gt", "Lt") else ["a", "b"]}

    return _struct(node, "requirement").map(consistent)


def _spread(node: crdcheck.Schema) -> SearchStrategy[Object]:
    def consistent(drawn: Object) -> Object:
        return {**drawn, "whenUnsatisfiable": "DoNotSchedule"} if "minDomains" in drawn else drawn

    return _struct(node, "spread").map(consistent)


def _resources(node: crdcheck.Schema) -> SearchStrategy[Object]:
    keys = st.sampled_from(["cpu", "memory", "ephemeral-storage", "nvidia.com/gpu"])
    pairs = st.dictionaries(keys, st.tuples(quantities, quantities), max_size=ITEMS)

    def ordered(drawn: Mapping[str, Any]) -> Object:
        both = {key: sorted(pair, key=quantity) for key, pair in drawn.items()}
        return {
            "requests": {k: pair[0] for k, pair in both.items()},
            "limits": {k: pair[1] for k, pair in both.items()},
        }

    return pairs.map(ordered)


def _rollout(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """Each strategy with the fields it has; the status of a rollout is anything."""

    def consistent(drawn: Object) -> Object:
        strategy = drawn.get("strategy", "RollingUpdate")
        without = {"gates", "bakeSeconds"} if strategy == "RollingUpdate" else set()
        without |= {"steps", "shadowPercent", "maxSeconds", "gateway"} if strategy != "Canary" else set()
        without |= {"shadowPercent"} if "gateway" in drawn else set()
        kept = {key: value for key, value in drawn.items() if key not in without}
        steps = {step["weight"]: step for step in kept.get("steps", ())}
        return {**kept, "steps": [steps[weight] for weight in sorted(steps)]} if steps else kept

    drawn = _struct(node, "rollout")
    return drawn.map(consistent) if "shadowPercent" in node["properties"] else drawn


def _monitoring(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """Warnings come before what is critical, and each metric is held from its own side."""

    def ordered(limits: Object) -> Object:
        pair = sorted((limits.get("warn", "0.2"), limits.get("critical", "0.5")), key=float)
        return {**limits, "warn": pair[0], "critical": pair[1]}

    def consistent(drawn: Object) -> Object:
        drift, quality = drawn.get("drift"), drawn.get("quality")
        if drift is not None:
            own = [ordered(entry) for entry in drift.get("features", ())]
            drawn = {**drawn, "drift": {**ordered(drift), "features": own}}
        if quality is not None:
            small = quality.get("metric", "Accuracy") in ("Brier", "MAE", "RMSE")
            kept = {key: value for key, value in quality.items() if key not in ("warnBelow", "warnAbove")}
            drawn = {**drawn, "quality": {**kept, "warnAbove" if small else "warnBelow": "0.25"}}
        return drawn

    return _struct(node, "watched").map(consistent)


def _in_one_line(spec: Object) -> Object:
    """Priority is for the operator's own line, not for Kueue's queues."""
    return {**spec, "priority": 0} if spec["job"]["queueName"] else spec


def _routable(spec: Object) -> Object:
    """Routers speak no gRPC, and a container's counts are not read."""
    rollout, apart = spec.get("rollout", {}), {"container", "gates"}
    if rollout.get("strategy") == "Canary":
        spec = {**spec, "grpc": {"enabled": False}}
    without = {"gates"} if rollout.get("strategy") == "BlueGreen" and apart <= {*spec, *rollout} else set()
    without |= {"gateway"} if "container" in spec else set()
    return {**spec, "rollout": {key: value for key, value in rollout.items() if key not in without}}


def _servable(spec: Object) -> Object:
    """There is a model or a container, and what only our own server honours stays away from the container."""
    if "container" in spec:
        return crdcheck.defaulted({"kind": "ModelDeployment", "spec": {**spec, **OURS_LEFT_OUT}})["spec"]  # type: ignore[no-any-return]
    return {"model": {"name": "credit", "revision": ""}, **spec}


def _measurable(spec: Object) -> Object:
    """An autoscaler needs requests of what it measures."""
    if "autoscaling" not in spec:
        return spec
    requests = {metric["type"].lower(): 1 for metric in spec["autoscaling"]["metrics"]}
    held = spec["resources"]
    limits = {key: value for key, value in held["limits"].items() if key not in requests}
    return {**spec, "resources": {"requests": {**held["requests"], **requests}, "limits": limits}}


def _experiment(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """Arms whose weights sum to 100, one of them the control; times and batches in order."""
    fields = node["properties"]
    free = ("assignment", "decision", "onInconclusive", "suspend")
    return st.fixed_dictionaries(
        {
            "arms": st.lists(names, min_size=2, max_size=8, unique=True).flatmap(_arms),
            "objective": st.sampled_from(OBJECTIVES),
            "control": st.integers(0, 7),
        },
        optional={name: from_schema(fields[name], f".{name}") for name in free}
        | {
            "guardrails": st.sampled_from([[], [{"metric": "Errors", "maxIncreasePercent": "0"}]]),
            "minSeconds": st.integers(0, 3_600),
            "maxSeconds": st.integers(3_600, 31_536_000),
            "bandit": st.builds(dict, floorPercent=st.integers(1, 12), batchSeconds=st.just(2_419_200)),
        },
    ).map(_controlled)


def _arms(found: list[str]) -> SearchStrategy[list[Object]]:
    cuts = st.lists(st.integers(1, 99), min_size=len(found) - 1, max_size=len(found) - 1, unique=True).map(sorted)
    return cuts.map(
        lambda at: [
            {"name": f"arm-{index}", "deployment": name, "weight": high - low}
            for index, (name, low, high) in enumerate(zip(found, [0, *at], [*at, 100], strict=True))
        ]
    )


def _controlled(drawn: Object) -> Object:
    """`minSeconds` alone is kept below a default `maxSeconds`, and the other way round."""
    arms = drawn["arms"]
    times = {"minSeconds": 0, **drawn} if "maxSeconds" in drawn else drawn
    return {**times, "control": arms[drawn["control"] % len(arms)]["name"]}


def _cron(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """Times that come, in zones that there are."""
    return st.fixed_dictionaries(
        {
            "schedule": st.sampled_from(["0 3 * * 0", "*/5 * * * *", "30 2 29 2 *", "0 0 1 JAN MON-FRI"]),
            "timeZone": st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
        },
        optional={"startingDeadlineSeconds": st.integers(60, 604_800)},
    )


def _performance(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """Each metric with a bound on its bad side."""
    bounds = {"Accuracy": "below", "RocAuc": "below", "Brier": "above", "MAE": "above", "RMSE": "above"}
    return st.builds(
        lambda name, metric: {"deployment": name, "metric": metric, bounds[metric]: "0.25"},
        names,
        st.sampled_from(sorted(bounds)),
    )


def _trainer(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """A pod that mounts what it has."""

    def consistent(drawn: Object) -> Object:
        volumes, mounts = drawn.get("volumes", []), drawn.get("volumeMounts", [])
        pairs = zip(mounts, volumes, strict=False)
        return {**drawn, "volumeMounts": [{**mount, "name": volume["name"]} for mount, volume in pairs]}

    return _struct(node, ".template").map(consistent)


def _volume(node: crdcheck.Schema) -> SearchStrategy[Object]:
    """One kind of volume each."""
    kinds = node["properties"]
    return st.sampled_from([name for name in kinds if name != "name"]).flatmap(
        lambda kind: st.fixed_dictionaries({"name": from_schema(kinds["name"]), kind: from_schema(kinds[kind])})
    )


OBJECTIVES: tuple[Object, ...] = (
    {"metric": "Outcome"},
    {"metric": "OutcomeMean", "direction": "Decrease", "minimumEffectPercent": "99.99", "alpha": "0.5"},
    {"metric": "Errors", "power": "0.9999", "alpha": "0.001"},
    {"metric": "Latency", "aboveMilliseconds": 1, "minimumEffectPercent": "0.01"},
    {"metric": "Prometheus", "direction": "Increase", "query": 'sum(sold_total{arm="$arm"})'},
)

TIED: Mapping[str, Build] = {
    ".source": _source,
    ".autoscaling": _autoscaling,
    ".rollout": _rollout,
    ".monitoring": _monitoring,
    ".tolerations[]": _toleration,
    ".matchExpressions[]": _requirement,
    ".matchFields[]": _requirement,
    ".topologySpreadConstraints[]": _spread,
    ".resources": _resources,
    ".triggers.cron": _cron,
    ".triggers.performance": _performance,
    ".job.template": _trainer,
    ".template.volumes[]": _volume,
}
