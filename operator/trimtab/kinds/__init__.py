"""What each resource means. Pure: the same four file names in each package, and no I/O in any.

`KINDS` is the table of kinds: the shell walks it and knows nothing else about them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from trimtab.core.objects import (
    API_VERSION,
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    HTTP_ROUTE,
    JOB,
    NETWORK_POLICY,
    POD,
    SERVICE,
    Object,
    Ref,
    Resource,
)
from trimtab.core.plan import Plan
from trimtab.core.platform import Platform
from trimtab.core.schema import Definition
from trimtab.core.view import View
from trimtab.evidence.sources import Sources
from trimtab.kinds.abtest import api as abtest_api
from trimtab.kinds.abtest import observe as abtest_observe
from trimtab.kinds.abtest import plan as abtest_plan
from trimtab.kinds.mlmodel import api as mlmodel_api
from trimtab.kinds.mlmodel import observe as mlmodel_observe
from trimtab.kinds.mlmodel import plan as mlmodel_plan
from trimtab.kinds.modeldeployment import api as modeldeployment_api
from trimtab.kinds.modeldeployment import observe as modeldeployment_observe
from trimtab.kinds.modeldeployment import plan as modeldeployment_plan
from trimtab.kinds.retrainschedule import api as retrainschedule_api
from trimtab.kinds.retrainschedule import line as retrainschedule_line
from trimtab.kinds.retrainschedule import observe as retrainschedule_observe
from trimtab.kinds.retrainschedule import plan as retrainschedule_plan


@dataclass(frozen=True)
class Ports:
    """The outside world, as far as kinds may ask it; adapters stand behind these protocols."""

    registry: mlmodel_observe.Registry
    counts: Sources
    events: abtest_observe.Events
    monitor: modeldeployment_observe.Monitor
    tracking: retrainschedule_observe.Tracking
    notifier: retrainschedule_observe.Notifier


@dataclass(frozen=True)
class Kind:
    """One row of the table: how to read, judge and relate objects of one kind."""

    definition: Definition
    parse: Callable[[Object], Any]
    observe: Callable[[Any, View, Platform, Ports], Coroutine[Any, Any, Any]]
    plan: Callable[[Any, Any, datetime], Plan]
    children: Sequence[Resource]
    renewable: Sequence[Resource] = ()
    """Children that hold nothing, and may be deleted and made anew where an edit by hand cannot be mended."""
    mergeable: Sequence[Resource] = ()
    """Children that a stranger's object of their name could be merged with, without a conflict over any field."""
    references: Callable[[Object], Sequence[Ref]] = lambda obj: ()
    """Whose changes concern it: they are looked at together with it."""
    tells: Callable[[Object], Mapping[Ref, str]] = lambda obj: {}
    """What others read in it, by whom, in a word: a change of the word concerns them. (What they read of it otherwise
    changes too often to look each time.) Told to an address of no kind, it concerns all who refer to that."""

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.definition.names.kind

    @property
    def resource(self) -> Resource:
        """The kind as an API resource."""
        return Resource(API_VERSION, self.name, self.definition.names.plural)


MLMODEL = Kind(
    definition=mlmodel_api.DEFINITION,
    parse=mlmodel_api.MLModel.parse,
    observe=lambda obj, view, platform, ports: mlmodel_observe.observe(obj, view, platform, ports.registry),
    plan=mlmodel_plan.plan,
    children=(JOB,),
)
MODELDEPLOYMENT = Kind(
    definition=modeldeployment_api.DEFINITION,
    parse=modeldeployment_api.ModelDeployment.parse,
    observe=lambda obj, view, platform, ports: modeldeployment_observe.observe(
        obj, view, platform, ports.counts, ports.monitor
    ),
    plan=modeldeployment_plan.plan,
    children=(DEPLOYMENT, SERVICE, AUTOSCALER, DISRUPTION_BUDGET, NETWORK_POLICY, HTTP_ROUTE),
    renewable=(SERVICE, AUTOSCALER, DISRUPTION_BUDGET, NETWORK_POLICY),
    # A Service with other ports and no selector has no field that ours has.
    mergeable=(SERVICE,),
    references=lambda obj: (modeldeployment_observe.model_ref(obj),),
)
ABTEST = Kind(
    definition=abtest_api.DEFINITION,
    parse=abtest_api.ABTest.parse,
    observe=lambda obj, view, platform, ports: abtest_observe.observe(obj, view, platform, ports.counts, ports.events),
    plan=abtest_plan.plan,
    children=(DEPLOYMENT, SERVICE, DISRUPTION_BUDGET, NETWORK_POLICY),
    renewable=(SERVICE, DISRUPTION_BUDGET, NETWORK_POLICY),
    mergeable=(SERVICE,),
    references=abtest_observe.deployment_refs,
    tells=lambda obj: dict.fromkeys(abtest_observe.deployment_refs(obj), modeldeployment_observe.held_by((obj,))),
)
RETRAINSCHEDULE = Kind(
    definition=retrainschedule_api.DEFINITION,
    parse=retrainschedule_api.RetrainSchedule.parse,
    observe=lambda obj, view, platform, ports: retrainschedule_observe.observe(
        obj, view, platform, ports.tracking, ports.notifier
    ),
    plan=retrainschedule_plan.plan,
    children=(JOB,),
    references=retrainschedule_observe.references,
    tells=lambda obj: {**mlmodel_observe.told_by(obj), **retrainschedule_line.told(obj)},
)

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (MLMODEL, MODELDEPLOYMENT, ABTEST, RETRAINSCHEDULE)}


def watched(*, gateway_api: bool = False) -> list[Resource]:
    """Our kinds, all their children, and the pods that tell why children do not work."""
    found = [kind.resource for kind in KINDS.values()]
    found += [child for kind in KINDS.values() for child in kind.children if gateway_api or child != HTTP_ROUTE]
    return list(dict.fromkeys([*found, POD]))
