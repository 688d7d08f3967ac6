"""The shape of an ABTest. These models are its CRD and its `kubectl explain`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from trimtab.core.api import (
    DNS_LABEL,
    NAME_LIMIT,
    ApiModel,
    matching,
    own_name,
    rule,
    rules,
)
from trimtab.core.objects import Object
from trimtab.core.schema import AGE, READY, Column, Definition, Names
from trimtab.kinds.abtest.objective import Guardrail, Objective
from trimtab.kinds.abtest.status import Status

ARM_NAME_LIMIT = 32
HEADER = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SALT = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$"

ArmName = Annotated[
    str,
    matching(
        DNS_LABEL,
        "an arm's name consists of a-z, 0-9 and '-', and starts with a letter",
        max_length=ARM_NAME_LIMIT,
    ),
]


class Arm(ApiModel):
    """One of the deployments that are compared."""

    name: ArmName
    """What the arm is called in status, response headers and cookies."""
    deployment: Annotated[
        str,
        matching(
            DNS_LABEL,
            "deployment must be the name of a ModelDeployment: a-z, 0-9 and '-', and a letter first",
            max_length=NAME_LIMIT,
        ),
    ]
    """A ModelDeployment in this namespace. While the test runs, it holds back new revisions."""
    weight: Annotated[int, Field(ge=1, le=99)]
    """Its share of the users, in percent."""


class Assignment(ApiModel):
    """Who gets which arm."""

    header: Annotated[
        str,
        matching(
            HEADER, "assignment.header must be the name of a header in lower case, as in x-user-id", max_length=64
        ),
    ] = "x-user-id"
    """The request header that names the user. Requests without it get a cookie for each arm."""
    salt: Annotated[
        str,
        matching(SALT, "assignment.salt consists of a-z, 0-9 and '-', or is empty", max_length=16),
    ] = ""
    """What users are mixed with before they are split. Empty means one that is this experiment's own, so that no two
    experiments split users alike; give two experiments the same one to split them alike on purpose."""


class Bandit(ApiModel):
    """Give arms that do well more of the users while the test runs."""

    mode: Literal["Thompson"] = "Thompson"
    """How shares are drawn: in proportion to the chance of being the best one, by what was counted so far."""
    batch_seconds: Annotated[int, Field(ge=300, le=2_419_200)] = 86_400
    """How long shares stay before they are drawn anew. Users keep their arm but for those that must move to make room
    for a growing one."""
    floor_percent: Annotated[int, Field(ge=1, le=50)] = 5
    """The least share of an arm, in percent: without it nothing more would be learned about it."""


class Spec(ApiModel):
    """Which deployments to compare, by what, and what to do then."""

    model_config = {
        **ApiModel.model_config,
        "json_schema_extra": rules(
            rule(
                "self.arms.all(a, self.arms.exists_one(b, b.deployment == a.deployment))",
                "arms: two arms of one ModelDeployment cannot be told apart; make a ModelDeployment for each",
            ),
            rule("self.arms.map(a, a.weight).sum() == 100", "arms: the weights must sum to 100"),
            rule("self.arms.exists(a, a.name == self.control)", "control must be the name of one of the arms"),
            rule(
                "self.minSeconds <= self.maxSeconds",
                "minSeconds must not exceed maxSeconds, which left out are a day and four weeks",
            ),
            rule(
                "self.objective.metric != 'Latency' || !has(self.guardrails) || self.guardrails.all(g, "
                "g.metric != 'Latency' || g.aboveMilliseconds == self.objective.aboveMilliseconds)",
                "guardrails: slow answers are counted once; give the guardrail the objective's aboveMilliseconds",
            ),
            rule(
                "!has(self.bandit) || self.bandit.floorPercent * size(self.arms) <= 100",
                "bandit: floorPercent for each arm is more than all users; lower it",
            ),
            rule(
                "!has(self.bandit) || self.maxSeconds <= self.bandit.batchSeconds * 40",
                "bandit: no more than 40 batches are kept apart; set batchSeconds to at least a 40th of maxSeconds",
            ),
        ),
    }

    arms: Annotated[
        list[Arm],
        Field(
            min_length=2,
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """The deployments that are compared, with their shares of the users. Other names, deployments, control, objective,
    guardrails or assignment start a new run; other weights do not."""
    control: ArmName
    """The arm that the others are compared with, and that gets the users of those that fail."""
    assignment: Assignment = Assignment()
    """Who gets which arm."""
    objective: Objective
    """What decides which arm is better."""
    guardrails: Annotated[
        list[Guardrail],
        Field(
            max_length=3,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["metric"]},
        ),
    ] = []
    """What must not get worse by much."""
    min_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 86_400
    """No winner is declared before this. Whole days keep the hours of a day from deciding; harm is acted upon at
    once."""
    max_seconds: Annotated[int, Field(ge=60, le=31_536_000)] = 2_419_200
    """No verdict by then is a verdict: Inconclusive."""
    decision: Literal["Auto", "Manual"] = "Auto"
    """Auto gives all users to the winner. Manual waits for the annotation trimtab.dev/promote=<arm>. Harm is acted upon
    in both."""
    on_inconclusive: Literal["KeepControl", "Pause"] = "KeepControl"
    """What becomes of the traffic without a winner: all to the control, or as it is until somebody decides."""
    suspend: bool = False
    """Decide nothing for now: shares stay, counting goes on, deployments may roll out. Time goes on towards
    `maxSeconds`. Harm is not acted upon either."""
    bandit: Bandit | None = None
    """Move users to better arms while the test runs. The winner is found by the same evidence as without."""


class ABTest(ApiModel):
    """One ABTest, as read from the API server."""

    kind: Literal["ABTest"] = "ABTest"
    metadata: dict[str, Any]
    spec: Spec
    status: Status = Status()

    @classmethod
    def parse(cls, obj: Object) -> ABTest:
        """Read a raw object; pydantic's ValidationError where it does not have this shape."""
        return cls.model_validate(obj)


DEFINITION = Definition(
    names=Names("ABTest", "abtests", "abt"),
    description="Which of several deployments is better, asked on live users and answered by evidence.",
    spec=Spec,
    status=Status,
    columns=(
        Column("Control", ".spec.control"),
        Column("Weights", ".status.weights"),
        Column("Users", ".status.users", "integer"),
        Column("Lift", ".status.evidence.summary"),
        Column("Verdict", ".status.verdict.decision"),
        *READY,
        Column("Winner", ".status.verdict.winner", priority=1),
        Column("URL", ".status.url", priority=1),
        AGE,
    ),
    rules=(own_name("it becomes the name of a Service"),),
)
