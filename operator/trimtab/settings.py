"""Environment → one frozen Settings. Everything that can be set is here, with its bounds and its default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from trimtab.core.platform import Platform

PREFIX = "TRIMTAB_"
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]


class Settings(BaseModel):
    """What the chart decides for the operator."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    server_image: Annotated[str, Field(min_length=1)]
    """The slim model server."""
    toolbox_image: Annotated[str, Field(min_length=1)]
    """The image of import Jobs and of the Python runtime."""
    router_image: Annotated[str, Field(min_length=1)] = "trimtab-router"
    """The image of routers: one with envoy and bash."""
    xds_address: Annotated[str, Field(pattern=r"^[^\s:]+:[0-9]{1,5}$")] = "trimtab-xds:18000"
    """Host and port at which routers ask for their routes: the operator's Service, or another way to `xds_port`."""
    xds_port: Annotated[int, Field(ge=1, le=65_535)] = 18_000
    """Where every replica answers routers."""
    gateway_api: bool = False
    """Whether rollouts may be split by HTTPRoutes of the Gateway API; its definitions must be installed before."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """For all pods the operator creates."""
    store_uri: Annotated[str, Field(pattern=r"^(https?|s3|gs|az|file)://")]
    """Where bundles are kept."""
    mlflow_tracking_uri: Annotated[str, Field(pattern=r"^(https?://.*)?$")] = ""
    """The registry behind models:/ references; empty means there is none."""
    prometheus_uri: Annotated[str, Field(pattern=r"^(https?://.*)?$")] = ""
    """Where the queries of experiments are asked; empty means that there is no Prometheus."""
    notifications_dir: Annotated[str, Field(pattern=r"^(/.*)?$")] = ""
    """Where the Secret with the channels of notifications is mounted; empty means that nobody is told anything."""
    job_secret_name: str = ""
    """A Secret in each user's namespace that gives Jobs and fetch containers their credentials."""
    watch_namespaces: tuple[Namespace, ...] = ()
    """Empty means all."""
    max_concurrent_reconciles: Annotated[int, Field(ge=1, le=100)] = 10
    """Workers per kind."""
    max_concurrent_runs: Annotated[int, Field(ge=0, le=10_000)] = 4
    """Training Jobs of RetrainSchedules in one namespace at the same time, without those of Kueue; 0 means no limit."""
    max_queued_runs: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Runs of one namespace that may wait for their turn; what is scheduled beyond that is skipped."""
    resync_seconds: Annotated[float, Field(ge=1)] = 600
    """How often the picture of the cluster is compared with the cluster."""
    lease_duration_seconds: Annotated[float, Field(ge=1)] = 15
    """How long a silent leader is believed in."""
    lease_renew_seconds: Annotated[float, Field(ge=0.5)] = 10
    """How long a leader that cannot renew goes on writing."""
    lease_retry_seconds: Annotated[float, Field(ge=0.1)] = 2
    """How often the lease is looked at."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 8080
    """Health and metrics."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """How much is logged."""
    log_format: Literal["json", "text"] = "json"
    """For machines or for people."""
    pod_name: str = "local"
    """The lease holder's name."""
    pod_namespace: str = "default"
    """Where the lease is."""

    @model_validator(mode="after")
    def _one_leader(self) -> Settings:
        if not self.lease_retry_seconds < self.lease_renew_seconds < self.lease_duration_seconds:
            raise ValueError(
                "TRIMTAB_LEASE_RETRY_SECONDS < TRIMTAB_LEASE_RENEW_SECONDS < TRIMTAB_LEASE_DURATION_SECONDS must hold, "
                "or two replicas could lead at once"
            )
        return self

    def platform(self) -> Platform:
        """The part that children are built from."""
        return Platform(
            server_image=self.server_image,
            toolbox_image=self.toolbox_image,
            store_uri=self.store_uri,
            tracking_uri=self.mlflow_tracking_uri,
            pull_policy=self.image_pull_policy,
            job_secret_name=self.job_secret_name,
            router_image=self.router_image,
            xds_address=self.xds_address,
            gateway_api=self.gateway_api,
            max_concurrent_runs=self.max_concurrent_runs,
            max_queued_runs=self.max_queued_runs,
        )


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; ValueError names each variable that is wrong and why."""
    given: dict[str, Any] = {}
    for name in Settings.model_fields:
        variable = name.upper() if name.startswith("pod_") else PREFIX + name.upper()
        if environ.get(variable):
            given[name] = environ[variable]
    if "watch_namespaces" in given:
        given["watch_namespaces"] = tuple(n.strip() for n in given["watch_namespaces"].split(",") if n.strip())
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        lines = (": ".join([*(PREFIX + str(part).upper() for part in e["loc"][:1]), e["msg"]]) for e in error.errors())
        raise ValueError("the environment is not usable: " + "; ".join(lines)) from None
