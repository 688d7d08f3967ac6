"""What MLflow has, asked in its own pod: nothing of the cluster has to be opened for that."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from hack.cluster import kubectl
from hack.demo import release

ASK = """
import sys, urllib.request
url = "http://127.0.0.1:5000/api/2.0/mlflow/" + sys.argv[1]
sys.stdout.write(urllib.request.urlopen(url, timeout=10).read().decode())
"""


def ask(path: str, **query: str) -> dict[str, Any]:
    """The answer of its REST API to a GET."""
    where = ("-n", release.NAMESPACE, "exec", f"deploy/{release.NAME}-mlflow", "--")
    answer: dict[str, Any] = json.loads(kubectl.kubectl(*where, "python", "-c", ASK, f"{path}?{urlencode(query)}"))
    return answer


def champion(model: str) -> dict[str, str]:
    """The version that has the alias, and its tags."""
    found = ask("registered-models/alias", name=model, alias="champion")["model_version"]
    return {"version": found["version"], **{tag["key"]: tag["value"] for tag in found.get("tags", ())}}


def versions(model: str) -> list[str]:
    """Which run made each version of a model, by the tag of the contract; none if there is no such model."""
    found = ask("model-versions/search", filter=f"name = '{model}'").get("model_versions", ())
    tags = [{tag["key"]: tag["value"] for tag in version.get("tags", ())} for version in found]
    return [tag.get("trimtab.dev/run-id", "") for tag in tags]


def history(run: str, metric: str) -> list[float]:
    """All values of a metric, in the order in which they were logged."""
    return [entry["value"] for entry in ask("metrics/get-history", run_id=run, metric_key=metric).get("metrics", ())]
