"""A training that can be killed at any time: boosted trees, twenty at a time, each twenty saved.

In a Job of a RetrainSchedule an attempt goes on with the trees of the one before, in the same MLflow run; on a laptop
the same script trains from the beginning:

    MLFLOW_TRACKING_URI=http://localhost:5000 python train.py
"""

import lightgbm
import mlflow
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from trimtab_toolbox import BadData, log_model, training_run

ROUNDS, TREES = 10, 20


def main() -> None:
    """Train, measure, register; whatever goes wrong ends the process with a code that says whether to try again."""
    with training_run() as run:
        rows, labels = load_breast_cancer(return_X_y=True, as_frame=True)
        if labels.nunique() < 2:
            raise BadData("all patients have the same diagnosis")
        learn, held_out, truth, held_out_truth = train_test_split(rows, labels, test_size=100, random_state=run.seed)
        settings = {"objective": "binary", "num_leaves": 7, "seed": run.seed, "num_threads": 1, "verbosity": -1}
        before = run.restored("trees.txt")
        booster = lightgbm.Booster(model_file=str(before)) if before else None
        done = booster.num_trees() // TREES if booster else 0
        for turn in range(done, ROUNDS):
            data = lightgbm.Dataset(learn, truth, free_raw_data=False)
            booster = lightgbm.train(settings, data, num_boost_round=TREES, init_model=booster)
            with run.checkpoint("trees.txt") as path:
                booster.save_model(path)
            run.progress(turn + 1, ROUNDS)
        mlflow.log_metric("roc_auc", float(roc_auc_score(held_out_truth, booster.predict(held_out))))
        name = run.model_name or "tumour"
        log_model(booster, learn, truth, registered_model_name=name, holdout=(held_out, held_out_truth))


if __name__ == "__main__":
    main()
