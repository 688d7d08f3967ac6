"""The contract of docs/training.md without Trimtab's toolbox: MLflow and scikit-learn alone."""

import json
import os
import sys

import mlflow
import mlflow.sklearn
from mlflow.exceptions import MlflowException
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

RUN, NAME = os.environ["TRIMTAB_RUN_ID"], os.environ["TRIMTAB_MODEL_NAME"]
TAG = "trimtab.dev/run-id"


def end(code: int, **result: object) -> None:
    """Say the last words and leave."""
    with open(os.environ["TRIMTAB_RESULT_PATH"], "w") as file:
        json.dump({"schema": 1, **result}, file)
    sys.exit(code)


def train() -> None:
    """Fit and register, unless an earlier attempt of this run has."""
    client = mlflow.MlflowClient()
    mine = f"tags.`{TAG}` = '{RUN}'"
    versions = client.search_model_versions(f"name = '{NAME}' and {mine}")
    if versions:
        end(0, version=str(versions[0].version), runId=versions[0].run_id)
    experiment = mlflow.set_experiment(os.environ["MLFLOW_EXPERIMENT_NAME"])
    runs = client.search_runs([experiment.experiment_id], mine)
    with mlflow.start_run(runs[0].info.run_id if runs else None, tags={TAG: RUN}) as active:
        rows, labels = load_wine(return_X_y=True, as_frame=True)
        model = RandomForestClassifier(random_state=int(os.environ["TRIMTAB_SEED"]))
        accuracy = float(cross_val_score(model, rows, labels).mean())
        mlflow.log_metric("accuracy", accuracy)
        mlflow.set_tag("trimtab.dev/progress", "1 of 1")
        logged = mlflow.sklearn.log_model(
            model.fit(rows, labels),
            name="model",
            input_example=rows[:20],
            skops_trusted_types=["sklearn.tree._tree.Tree"],
            pip_requirements=["scikit-learn"],  # MLflow takes long to find that out
        )
        made = mlflow.register_model(logged.model_uri, NAME, tags={TAG: RUN})  # the tag in the same call
    end(0, version=str(made.version), runId=active.info.run_id, metrics={"accuracy": accuracy}, rows=len(rows))


if __name__ == "__main__":
    try:
        train()
    except MlflowException as error:
        end(75, reason="TrackingUnreachable", message=str(error)[:1000])
    except ValueError as error:
        end(10, reason="BadData", message=str(error)[:1000])
