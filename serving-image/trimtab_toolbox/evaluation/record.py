"""The verdict where the model is: tags on its version in MLflow, and all checks as gate.json in its run.

The last words of a container may be lost, MLflow keeps them. gate.json belongs to the run and not to the model's own
files, or an import of the same model would give another bundle after it was graded.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab_serving.outcome import Failure, Reason
from trimtab_toolbox.evaluation.settings import Settings

PREFIX = "trimtab.dev/gate"
FILE = "gate.json"
_VERSION = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>[0-9]+)\Z")
_TAGGED = ("reason", "message", "metric", "champion", "challenger", "difference", "lower", "upper", "rows")


def tags(settings: Settings, result: Mapping[str, Any]) -> dict[str, str]:
    """The tags that say the verdict, each below PREFIX."""
    said = {name: str(result[name])[:500] for name in _TAGGED if name in result}
    said["chance-if-worse"] = str(result.get("chanceIfWorse", ""))
    said |= {"champion-uri": settings.champion, "holdout": f"sha256:{settings.digest}", "run": settings.run_id}
    return {PREFIX: str(result["verdict"]), **{f"{PREFIX}-{name}": value for name, value in said.items() if value}}


def record(settings: Settings, whole: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Write tags and gate.json; returns what was written, empty for a challenger that no registry knows.

    Raises StoreUnreachable when MLflow does not take them: the same verdict comes of another attempt.
    """
    match = _VERSION.match(settings.challenger)
    if match is None:
        return ""
    import mlflow

    client = mlflow.MlflowClient(os.environ.get("MLFLOW_TRACKING_URI"))
    try:
        run = client.get_model_version(match["name"], match["version"]).run_id
        if run:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, FILE)
                path.write_text(json.dumps({**whole, "holdout": settings.holdout, "digest": settings.digest}, indent=1))
                client.log_artifact(run, str(path))
        # The tag with the verdict is written last: whoever sees it sees all the rest.
        for name, value in reversed(tags(settings, result).items()):
            client.set_model_version_tag(match["name"], match["version"], name, value)
    except Exception as error:
        problem = re.sub(r"//[^/@\s]*@", "//", " ".join(str(error).split()))[:300]
        message = f"MLflow did not take the verdict on {settings.challenger}: {problem}; it will be tried again"
        raise Failure(Reason.STORE_UNREACHABLE, message) from error
    return f"tags and {FILE}" if run else "tags"
