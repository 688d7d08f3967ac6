"""MLflow's registry: what moving references to models stand for, and what it should say of versions."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab.adapters.mlflow import Mlflow, MlflowError, quoted, version_of
from trimtab.kinds.mlmodel.observe import RegistryError


class MlflowRegistry:
    """The registry of one MLflow server."""

    def __init__(self, mlflow: Mlflow) -> None:
        self._mlflow = mlflow

    async def version(self, name: str, alias: str | None, max_age_seconds: float) -> str:
        """The version an alias (or, with None, `latest`) stands for; RegistryError says why it cannot be told."""
        try:
            if alias:
                return await self._aliased(name, alias, max_age_seconds)
            return await self._latest(name, max_age_seconds)
        except MlflowError as error:
            if error.reason != "Missing":
                raise RegistryError(error.reason, str(error)) from None
            what = f"models:/{name}@{alias}" if alias else f"models:/{name}/latest"
            why = f"MLflow has no {what}: {error}; register it or set the alias"
        raise RegistryError("SourceNotFound", why)

    async def set_alias(self, model: str, alias: str, version: str, seconds: float) -> None:
        """Let the alias stand for this version; MlflowError if that was not done within so many seconds."""
        await self._mlflow.change(
            "/registered-models/alias", {"name": model, "alias": alias, "version": version}, seconds
        )

    async def set_tags(self, model: str, version: str, tags: Mapping[str, str], seconds: float) -> None:
        """Give the version these tags, and leave it the others; MlflowError if not all were set in time, each of
        which takes at most so many seconds."""
        for key, value in sorted(tags.items()):
            tag = {"name": model, "version": version, "key": key, "value": value}
            await self._mlflow.change("/model-versions/set-tag", tag, seconds)

    async def _aliased(self, name: str, alias: str, max_age: float) -> str:
        answer = await self._mlflow.get("/registered-models/alias", {"name": name, "alias": alias}, max_age)
        return version_of(answer.get("model_version"), name)

    async def _latest(self, name: str, max_age: float) -> str:
        """`latest` is the highest version number, as in the client library."""
        query = {"filter": f"name={quoted(name)}", "order_by": "version_number DESC", "max_results": "1"}
        answer = await self._mlflow.get("/model-versions/search", query, max_age)
        found = answer.get("model_versions")
        if not found:
            raise RegistryError("SourceNotFound", f"MLflow has no version of {name}; register one")
        return version_of(found[0] if isinstance(found, list) else None, name)
