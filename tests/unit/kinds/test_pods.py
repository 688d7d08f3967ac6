"""Every way in which pods do not run, told in one reason and in the words of whoever knows."""

from __future__ import annotations

import json

import pytest

from tests.unit.kinds import kubelet
from tests.unit.kinds.kubelet import container, crash_looping, ended, pulling_failed, pulling_later, waiting, words
from trimtab.core import pods
from trimtab.core.objects import Object

LABELS = {"trimtab.dev/deployment": "risk"}
DIGEST_WORDS = words("DigestMismatch", "the bundle's bytes hash to sha256:bad; delete it from the store")
INIT_DONE = container(ended(0), name="fetch", ready=True)
WAITS_FOR_INIT = container(waiting("PodInitializing"))
QUOTA = (
    'pods "risk-1-abc" is forbidden: exceeded quota: small, requested: requests.memory=256Mi, '
    "used: requests.memory=1Gi, limited: requests.memory=1Gi"
)
PSS = (
    'pods "risk-1-abc" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
    '(container "sidecar" must set securityContext.allowPrivilegeEscalation=false)'
)
NO_ACCOUNT = (
    'pods "risk-1-" is forbidden: error looking up service account team-a/scorer: serviceaccount "scorer" not found'
)


def one(*containers: Object, **more: object) -> Object:
    return kubelet.pod("risk-1", LABELS, *containers, **more)  # type: ignore[arg-type]


def evicted_for_its_disk(*containers: Object) -> Object:
    """Kubelet calls that no disruption."""
    found = one(*containers, phase="Failed")
    found["status"] |= {"reason": "Evicted", "message": "usage exceeds the total limit 64Mi"}
    return found


SAYS = "container server of pod risk-1"
CASES: dict[str, tuple[Object, str, str]] = {
    "pull failed": (
        one(container(pulling_failed())),
        "ImagePullFailed",
        f"{SAYS} cannot pull {kubelet.IMAGE}: failed to pull",
    ),
    "pull pauses": (
        one(container(pulling_later())),
        "ImagePullFailed",
        f"{SAYS} cannot pull {kubelet.IMAGE}: failed to pull",
    ),
    "name of image": (
        one(container(waiting("InvalidImageName", 'couldn\'t parse image name "A:B:C": invalid reference format'))),
        "ImagePullFailed",
        "invalid reference format",
    ),
    "image absent": (
        one(container(waiting("ErrImageNeverPull", 'Container image "x" is not present with pull policy of Never'))),
        "ImagePullFailed",
        "is not present with pull policy of Never",
    ),
    "signature": (
        one(
            container(waiting("SignatureValidationFailed", "image pull failed because the signature validation failed"))
        ),
        "ImagePullFailed",
        "signature validation failed",
    ),
    "registry away": (
        one(container(waiting("RegistryUnavailable", "image pull failed because the registry is unavailable"))),
        "ImagePullFailed",
        "the registry is unavailable",
    ),
    "missing secret": (
        one(container(waiting("CreateContainerConfigError", 'secret "store" not found'))),
        "ContainerRefused",
        f'{SAYS} cannot start: secret "store" not found',
    ),
    "no such command": (
        one(container(waiting("RunContainerError", 'exec: "python": executable file not found in $PATH'))),
        "ContainerRefused",
        "executable file not found",
    ),
    "crashes": (
        one(crash_looping(ended(1, "Traceback\nValueError: no weights\n"))),
        "CrashLooping",
        f"{SAYS} ended with exit code 1; its last words: Traceback\nValueError: no weights",
    ),
    "crashes, and runs at the moment": (
        one(container(kubelet.STARTED, last=ended(1, "ValueError")), phase="Running"),
        "CrashLooping",
        "exit code 1; its last words: ValueError",
    ),
    "crashed this moment": (
        one(container(ended(2, "new"), last=ended(1, "old")), phase="Running"),
        "CrashLooping",
        "exit code 2; its last words: new",
    ),
    "crashes in silence": (
        one(crash_looping(ended(139))),
        "CrashLooping",
        "exit code 139; its last words: it said nothing",
    ),
    "leaves without an error, again and again": (
        one(crash_looping(ended(0))),
        "CrashLooping",
        "exit code 0; its last words: it said nothing",
    ),
    "out of memory": (
        one(crash_looping(ended(137, reason="OOMKilled"))),
        "OutOfMemory",
        f"{SAYS} used more than its memory limit and was killed; raise the limit",
    ),
    "the fetch step knows why": (
        one(WAITS_FOR_INIT, init=[crash_looping(ended(10, DIGEST_WORDS), name="fetch")]),
        "DigestMismatch",
        "the bundle's bytes hash to sha256:bad; delete it from the store (container fetch of pod risk-1)",
    ),
    "the fetch step cannot be pulled": (
        one(WAITS_FOR_INIT, init=[container(pulling_later(), name="fetch")]),
        "ImagePullFailed",
        "container fetch of pod risk-1 cannot pull",
    ),
    "the server knows why": (
        one(crash_looping(ended(10, words("LoadFailed", "model.onnx: unknown operator"))), init=[INIT_DONE]),
        "LoadFailed",
        "model.onnx: unknown operator",
    ),
    "evicted, whatever its container makes of that": (
        one(container(ended(137)), phase="Failed", conditions=[kubelet.evicted("usage exceeds the total limit 64Mi")]),
        "Evicted",
        "pod risk-1 was evicted: usage exceeds the total limit 64Mi",
    ),
    "evicted for what it wrote": (
        evicted_for_its_disk(container(ended(75, words("Stopped", "SIGTERM came")))),
        "Evicted",
        "pod risk-1 was evicted: usage exceeds the total limit 64Mi",
    ),
    "no room": (
        one(conditions=[kubelet.unschedulable("0/3 nodes are available: 3 Insufficient memory.")]),
        "NotEnoughRoom",
        "no node has room for pod risk-1: 0/3 nodes are available: 3 Insufficient memory.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_pod_that_does_not_run_says_why(case: str) -> None:
    pod, reason, message = CASES[case]
    found = pods.trouble([pod])
    assert found is not None
    assert found.reason == reason
    assert message in found.message


QUIET: dict[str, Object] = {
    "just created": one(conditions=[]),
    "being scheduled": one(conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
    "creating": one(container(waiting("ContainerCreating"))),
    "fetching": one(WAITS_FOR_INIT, init=[container(kubelet.STARTED, name="fetch")]),
    "starting": one(container(kubelet.STARTED), init=[INIT_DONE], phase="Running"),
    "ready after a crash": one(container(kubelet.STARTED, last=ended(1, "once"), ready=True), phase="Running"),
    "fetched at the second try": one(
        container(kubelet.STARTED), init=[container(ended(0), name="fetch", last=ended(75), ready=True)]
    ),
    "on its way out": one(crash_looping(ended(1)), deleting=True),
    "has no status yet": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new", "labels": LABELS}},
}


@pytest.mark.parametrize("case", QUIET)
def test_a_pod_that_is_well_or_on_its_way_has_no_trouble(case: str) -> None:
    assert pods.trouble([QUIET[case]]) is None


@pytest.mark.parametrize("error", ["ErrImagePull", "RegistryUnavailable", "SignatureValidationFailed"])
def test_a_pull_that_is_tried_again_and_again_keeps_its_message(error: str) -> None:
    """kubelet alternates between the error and the pause; a message that followed would be a write each time."""
    states = [waiting(error, kubelet.NOT_FOUND), pulling_later(error=error), waiting(error, kubelet.NOT_FOUND)]
    assert len({pods.trouble([one(container(state))]) for state in states}) == 1


def test_a_crash_loop_keeps_its_message_while_the_container_runs_again() -> None:
    last = ended(1, "ValueError")
    states = [container(last), crash_looping(last), container(kubelet.STARTED, last=last)]
    assert len({pods.trouble([one(state)]) for state in states}) == 1


def test_causes_come_before_symptoms_and_names_decide_between_equals() -> None:
    crash, oom = crash_looping(ended(1)), crash_looping(ended(137, reason="OOMKilled"))
    found = pods.trouble(
        [kubelet.pod("b", LABELS, crash), kubelet.pod("c", LABELS, oom), kubelet.pod("a", LABELS, crash)]
    )
    assert found is not None
    assert (found.reason, "pod c" in found.message) == ("OutOfMemory", True)
    found = pods.trouble([kubelet.pod("b", LABELS, crash), kubelet.pod("a", LABELS, crash)])
    assert found is not None
    assert "pod a" in found.message


def test_an_eviction_explains_only_what_the_pod_brought_on_itself() -> None:
    moved = kubelet.pod("a", LABELS, container(ended(137)), phase="Failed", conditions=[kubelet.evicted("low memory")])
    crash, full = crash_looping(ended(1)), evicted_for_its_disk(container(ended(137)))
    told = [pods.trouble([moved, kubelet.pod("b", LABELS, crash)]), pods.trouble([full, moved, one(crash)])]
    assert [(found.reason, found.crashed) for found in told if found] == [("CrashLooping", True), ("Evicted", True)]


def test_long_last_words_are_cut_to_their_end() -> None:
    found = pods.trouble([one(crash_looping(ended(1, "x" * 5_000 + " the point")))])
    assert found is not None
    assert found.message.endswith("x the point")
    assert len(found.message) < 800


@pytest.mark.parametrize(
    "said",
    [
        "not JSON",
        '"text"',
        "[1]",
        "{}",
        json.dumps({"reason": 5}),
        json.dumps({"reason": "two words", "message": "x"}),
        json.dumps({"reason": "R" * 200}),
        json.dumps({"reason": ["Reason"]}),
        "[" * 4_000,
        "9" * 5_000,
    ],
)
def test_words_outside_the_contract_are_quoted_as_they_are(said: str) -> None:
    """A model may write anything to its termination log; none of it may become a reason, or break the operator."""
    found = pods.trouble([one(crash_looping(ended(1, said)))])
    assert found is not None
    assert found.reason == "CrashLooping"
    assert said[-100:] in found.message


@pytest.mark.parametrize(
    ("message", "reason"), [(QUOTA, "QuotaExceeded"), (PSS, "PodsRefused"), (NO_ACCOUNT, "PodsRefused")]
)
def test_pods_that_may_not_be_created_are_told_of_by_their_deployment(message: str, reason: str) -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    found = pods.refusal({"status": {"conditions": [failure]}})
    assert found == pods.Trouble(2, reason, f"the API server refuses the pods: {message}")


@pytest.mark.parametrize(
    "status", [{}, {"conditions": []}, {"conditions": [{"type": "ReplicaFailure", "status": "False"}]}]
)
def test_a_deployment_that_can_create_its_pods_is_not_refused(status: Object) -> None:
    assert pods.refusal({"status": status}) is None


def test_last_words_are_those_of_the_container_asked_for() -> None:
    pod = one(
        container(ended(0, '{"digest": "x"}'), name="import"), container(ended(0, '{"digest": "y"}'), name="other")
    )
    assert pods.last_words(pod, "import") == {"digest": "x"}
    assert pods.last_words(pod, "absent") == {}
    assert pods.last_words({"metadata": {"name": "p"}}, "import") == {}


@pytest.mark.parametrize(
    ("status", "crashed"),
    [
        (crash_looping(ended(1)), True),
        (crash_looping(ended(137, reason="OOMKilled")), True),
        (crash_looping(ended(10, words("DigestMismatch", "bad bytes"))), True),
        (crash_looping(ended(75, words("StoreUnreachable", "timed out"))), False),
        (container(pulling_later()), False),
        (container(waiting("CreateContainerConfigError")), False),
    ],
)
def test_what_may_pass_by_itself_is_no_crash(status: Object, crashed: bool) -> None:
    found = pods.trouble([kubelet.server_pod("risk-1", "risk", "r", status)])
    assert found is not None
    assert found.crashed is crashed
