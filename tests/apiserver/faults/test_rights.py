"""The operator lives with exactly the rights of the chart: it uses each, and it is refused none.

What it asks for is read off the proxy, over a full life and the rarer occasions that need a right of their own. Two
rights never show there: server-side apply needs `create` where it creates, and an owner reference that blocks its
owner's deletion needs `update` of the owner's finalizers where that admission plugin is on, as it is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pytest

from tests.chart import render
from tests.controlplane import ControlPlane
from tests.counting_pods import CountingPods
from tests.faultproxy import FaultProxy
from tests.faults import Record
from tests.kube import PATHS, Kube, Object, condition, until
from tests.kubelet import imports
from tests.life import AUTOSCALING, Life, deployment, model
from tests.operators import Nest
from trimtab.runtime.archive import SELECTOR

ACCOUNT = "trimtab-operator"


class Right(NamedTuple):
    """One verb on one resource, as RBAC grants it; `name` only where it is granted for that name alone."""

    verb: str
    group: str
    resource: str
    name: str = ""


def granted(roles: Iterable[Object]) -> set[Right]:
    """All rights of some roles, one by one."""
    return {
        Right(verb, group, resource, name)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def used(records: Iterable[Record]) -> set[Right]:
    """The rights that calls needed."""
    rights = set()
    for call, status, _ in records:
        if not call.resource:
            continue  # discovery is everybody's
        resource = f"{call.resource}/{call.subresource}" if call.subresource else call.resource
        name = call.name if call.resource == "leases" else ""
        rights.add(Right(call.verb, call.group, resource, name))
        if call.verb == "patch" and status == 201:
            rights.add(Right("create", call.group, resource, name))
    return rights


def roles_of(namespace: str) -> list[Object]:
    """What the chart grants to an operator that lives in, and cares for, one namespace."""
    objects = render({"watchNamespaces": [namespace]}, namespace=namespace)
    return [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"].startswith("trimtab")]


def user_of(namespace: str, account: str = ACCOUNT) -> str:
    return f"system:serviceaccount:{namespace}:{account}"


async def grant(kube: Kube, namespace: str, rights: Iterable[Right], account: str = ACCOUNT) -> None:
    """Give an account these rights in its namespace, and no others."""
    meta = {"name": account, "namespace": namespace}
    api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    rules = [_rule(right) for right in sorted(rights)]
    await kube.create({**api, "kind": "Role", "metadata": meta, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    subjects = [{"kind": "ServiceAccount", **meta}]
    await kube.create({**api, "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": subjects})


def _rule(right: Right) -> Object:
    rule: dict[str, Any] = {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
    return {**rule, "resourceNames": [right.name]} if right.name else rule


async def allowed(kube: Kube, namespace: str, right: Right, account: str = ACCOUNT) -> bool:
    """What the API server's authorizer says."""
    resource, _, sub = right.resource.partition("/")
    attributes = {"namespace": namespace, "verb": right.verb, "group": right.group, "resource": resource}
    spec = {
        "user": user_of(namespace, account),
        "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
        "resourceAttributes": {**attributes, "subresource": sub, "name": right.name},
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
    return bool((await kube.create(review))["status"]["allowed"])


LABELS = {"app": "theirs"}
POD: Object = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "theirs:1"}]}}
STRANGERS: dict[str, Object] = {
    "Job": {"parallelism": 0, "template": {"spec": {**POD["spec"], "restartPolicy": "OnFailure"}}},
    "NetworkPolicy": {"podSelector": {"matchLabels": LABELS}},
    "PodDisruptionBudget": {"selector": {"matchLabels": LABELS}, "minAvailable": 1},
    "Deployment": {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": POD},
    "Service": {"selector": LABELS, "ports": [{"port": 5432}]},
    "HorizontalPodAutoscaler": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "theirs"},
        "maxReplicas": 3,
    },
}


async def test_it_uses_all_its_rights_and_needs_no_other(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    rights = granted(roles_of(namespace))
    await grant(kube, namespace, rights)
    operator = nest.start(proxy, namespace, user=user_of(namespace))
    life = Life(kube, namespace)
    async with imports(kube):
        left = await _life(life)
        (job,) = {record.call.name for record in proxy.calls(resource="jobs", verb="patch")}
        await _life_among_strangers(life, [("Job", job), *left])
    await _leftover(life)
    finalizers = {right for right in rights if right.resource.endswith("/finalizers")}
    counts = {right for right in rights if right.resource == "configmaps"}

    async def all_used() -> bool:
        """What a call has done shows before the call is on record."""
        unused = rights - used(proxy.calls(caller=operator.caller)) - counts
        assert unused == finalizers, f"granted, but not used: {unused - finalizers}"
        return True

    await until(all_used, 10)
    records = proxy.calls(caller=operator.caller)
    assert [record for record in records if record.status == 403] == []
    assert used(records) - rights == set(), "used, but not granted"
    plurals = ("mlmodels", "modeldeployments", "abtests", "retrainschedules")
    assert {right.resource for right in finalizers} == {f"{plural}/finalizers" for plural in plurals}
    assert operator.exit_code is None


async def test_it_uses_all_its_rights_to_keep_what_pods_counted(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str
) -> None:
    """Its pods count, which they do nowhere else here: three operators make, change, and delete a document."""
    rights = granted(roles_of(namespace))
    await grant(kube, namespace, rights)
    callers = []
    async with imports(kube), CountingPods(kube, namespace).alive() as pods:
        await kube.create(model(namespace))
        await kube.create(deployment(namespace, monitoring={"drift": {"periodSeconds": 5}}))
        for what in ("makes", "changes", "deletes"):
            operator = nest.start(proxy, namespace, user=user_of(namespace))
            callers.append(operator.caller)
            await pods.looked_at_twice()
            pods.count(10)
            await pods.looked_at_twice()
            if what == "deletes":
                await kube.delete("ModelDeployment", namespace, "d")
                await until(lambda: _none(kube, namespace), 30, "the deployment's children are gone")
            assert await operator.stop() == 0
    assert await kube.list("ConfigMap", namespace, SELECTOR) == []
    records = [record for caller in callers for record in proxy.calls(caller=caller)]
    assert [record for record in records if record.status == 403] == []
    assert {right for right in rights if right.resource == "configmaps"} <= used(records)


async def _none(kube: Kube, namespace: str) -> bool:
    return not await kube.list("Deployment", namespace)


async def _life(life: Life) -> list[tuple[str, str]]:
    """A life with a budget that is edited so that only another one helps; kinds and names of all children."""
    created = await life.create()
    halves = {"spec": {"maxUnavailable": None, "minAvailable": 0}}
    await life.kube.patch("PodDisruptionBudget", life.namespace, life.name, halves)

    async def mended() -> bool:
        return await life.settled(version=1, pods=2) == created

    await until(mended, 10, "the budget is mended")
    scaled = await life.autoscale(AUTOSCALING, 2, version=1)
    await life.autoscale(None, 2, version=1)
    await _experiment(life)
    await _schedule(life)
    await life.delete()
    children = (key.split() for key in {**created, **scaled} if key not in ("model", "deployment"))
    return [(kind, name) for kind, name in children]


async def _experiment(life: Life) -> None:
    """One that waits for its arms, and says so."""
    arms = [{"name": name, "deployment": f"no-{name}", "weight": 50} for name in ("a", "b")]
    spec = {"arms": arms, "control": "a", "objective": {"metric": "Outcome"}}
    meta = {"name": "e", "namespace": life.namespace}
    await life.kube.create({"apiVersion": "trimtab.dev/v1alpha1", "kind": "ABTest", "metadata": meta, "spec": spec})

    async def told() -> bool:
        obj = await life.kube.get("ABTest", life.namespace, "e")
        return bool(condition(obj or {}, "Ready").get("reason") == "ArmNotFound")

    await until(told, 10, "the experiment says that its arms are missing")
    await life.kube.delete("ABTest", life.namespace, "e")


async def _schedule(life: Life) -> None:
    """One that waits for its model, and says so."""
    spec = {"model": "missing", "job": {"template": {"image": "train:1"}}}
    meta = {"name": "s", "namespace": life.namespace}
    body = {"apiVersion": "trimtab.dev/v1alpha1", "kind": "RetrainSchedule", "metadata": meta, "spec": spec}
    await life.kube.create(body)

    async def told() -> bool:
        obj = await life.kube.get("RetrainSchedule", life.namespace, "s")
        return bool(condition(obj or {}, "Ready").get("reason") == "ModelNotFound")

    await until(told, 10, "the schedule says that its model is missing")
    await life.kube.delete("RetrainSchedule", life.namespace, "s")


async def _life_among_strangers(life: Life, children: Sequence[tuple[str, str]]) -> None:
    """The same life again, with a stranger's object under each name; each is left alone until its owner deletes it."""
    theirs = [await _stranger(life, kind, name) for kind, name in children]
    await life.begin()
    for stranger in sorted(theirs, key=lambda obj: list(STRANGERS).index(obj["kind"])):
        meta = stranger["metadata"]
        if stranger["kind"] == "HorizontalPodAutoscaler":
            await life.settled(version=1, pods=2)
            await life.kube.patch("ModelDeployment", life.namespace, life.name, {"spec": {"autoscaling": AUTOSCALING}})
        await _name_taken(life, "MLModel" if stranger["kind"] == "Job" else "ModelDeployment")
        there = await life.kube.get(stranger["kind"], life.namespace, meta["name"])
        assert there is not None
        assert there["spec"] == stranger["spec"], "a stranger's object was changed"
        await life.kube.delete(stranger["kind"], life.namespace, meta["name"])
    await life.settled(version=1, pods=2, scalers=1)


async def _leftover(life: Life) -> None:
    """A policy that came back from a backup before its owner can want it: it goes."""
    owner = await life.kube.create(deployment(life.namespace, "restored", "missing"))
    reference = {key: owner[key] for key in ("apiVersion", "kind")} | {"name": "restored", "controller": True}
    meta = {
        "name": "restored",
        "namespace": life.namespace,
        "labels": {"app.kubernetes.io/managed-by": "trimtab"},
        "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"]}],
    }
    kind = "NetworkPolicy"
    await life.kube.create({"apiVersion": PATHS[kind][0], "kind": kind, "metadata": meta, "spec": STRANGERS[kind]})

    async def gone() -> bool:
        return await life.kube.get(kind, life.namespace, "restored") is None

    await until(gone, 10, "the policy is deleted")


async def _stranger(life: Life, kind: str, name: str) -> Object:
    meta = {"name": name, "namespace": life.namespace}
    return await life.kube.create(
        {"apiVersion": PATHS[kind][0], "kind": kind, "metadata": meta, "spec": STRANGERS[kind]}
    )


async def _name_taken(life: Life, kind: str) -> None:
    async def said() -> bool:
        obj = await life.kube.get(kind, life.namespace, life.model_name if kind == "MLModel" else life.name)
        return obj is not None and condition(obj, "Ready").get("reason") == "NameTaken"

    await until(said, 30, f"{kind} says NameTaken")


async def test_each_right_that_is_taken_away_is_missed(kube: Kube, namespace: str) -> None:
    """An account for each right, which has all but that one: the authorizer refuses that one, and no other."""
    rights = sorted(granted(roles_of(namespace)))
    accounts = {f"without-{n}": right for n, right in enumerate(rights)}
    for account, taken in accounts.items():
        await grant(kube, namespace, set(rights) - {taken}, account)

    async def known() -> bool:
        """The authorizer learns of roles by a watch of its own; the last one made is the last it learns of."""
        return await allowed(kube, namespace, rights[0], account=list(accounts)[-1])

    await until(known, 10, "the authorizer knows all roles")
    for account, taken in accounts.items():
        assert not await allowed(kube, namespace, taken, account), taken
        other = rights[(rights.index(taken) + 1) % len(rights)]
        assert await allowed(kube, namespace, other, account), other


@pytest.mark.parametrize("plural", ["mlmodels", "modeldeployments"])
async def test_without_the_right_to_its_owners_finalizers_no_child_is_made(
    nest: Nest, proxy: FaultProxy, kube: Kube, namespace: str, plural: str
) -> None:
    """The one right that shows in no request: the owner reference of a child needs it."""
    rights = granted(roles_of(namespace))
    await grant(kube, namespace, rights - {Right("update", "trimtab.dev", f"{plural}/finalizers")})
    nest.start(proxy, namespace, user=user_of(namespace))
    await Life(kube, namespace).begin()
    kind, name = ("MLModel", "m") if plural == "mlmodels" else ("ModelDeployment", "d")

    async def refused() -> Object:
        obj = await kube.get(kind, namespace, name)
        found = condition(obj or {}, "Ready")
        assert found.get("reason") == "ApplyFailed", found
        return found

    async with imports(kube):
        verdict = await until(refused, 30, f"{kind} says that its children are refused")
    assert "cannot set blockOwnerDeletion" in verdict["message"]


async def test_the_rights_suffice_for_a_whole_cluster(hatchery: Nest, plane: ControlPlane) -> None:
    """As installed by default: one ClusterRole, all namespaces, its lease in a namespace of its own."""
    async with Kube(plane) as kube:
        home, elsewhere = await kube.fresh_namespace(), await kube.fresh_namespace()
        for obj in render(namespace=home):
            if "Role" in obj["kind"] and obj["metadata"]["name"] in ("trimtab-operator", "trimtab-leader"):
                await kube.create(obj)
        with FaultProxy(plane) as proxy:
            operator = hatchery.start(proxy, home, user=user_of(home), settings={"TRIMTAB_WATCH_NAMESPACES": ""})
            try:
                await kube.create(model(elsewhere))

                async def importing() -> bool:
                    return bool(await kube.list("Job", elsewhere))

                await until(importing, 30, "the import's Job")
                assert [record for record in proxy.calls() if record.status == 403] == []
            finally:
                hatchery.clear([operator])
                for kind in ("ClusterRole", "ClusterRoleBinding"):
                    await kube.delete(kind, None, "trimtab-operator")
