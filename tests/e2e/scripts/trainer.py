"""A training of three steps to which something happens after the first; what is done is not done again.

    python trainer.py memory|hang|killed|evicted|disk

`memory` and `disk` take more than they may, each time. `hang` waits for what never comes. The others are good in the
end: `killed` is so once after its first step and once between registering its version and saying so, `evicted` waits
until somebody takes its pod away.
"""

import os
import signal
import sys
import time
from pathlib import Path

STEPS = 3
PIECE, PIECES = 2**20, 256


def hoard() -> None:
    """Take memory that is really used: pages that were never written cost nothing."""
    taken = []
    while True:
        taken.append(os.urandom(PIECE))


def fill() -> None:
    """Write to the container's own layer, and stay until the kubelet notices."""
    with Path("/var/tmp/filled").open("wb") as file:
        for _ in range(PIECES):
            file.write(os.urandom(PIECE))
    signal.pause()


def kill() -> None:
    """End as the kernel ends processes, without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(how: str) -> None:
    """Train on a few flowers."""
    if how == "memory":
        hoard()
    if how == "disk":
        fill()
    import mlflow
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    from trimtab_toolbox import log_model, training_run

    with training_run() as run:
        before = run.restored()
        done = int(before.read_text()) if before else 0
        for step in range(done + 1, STEPS + 1):
            mlflow.log_metric("step", step, step=step)
            with run.checkpoint() as path:
                path.write_text(str(step))
            if before is not None:
                continue
            if how == "killed":
                kill()
            sys.stdout.write("waits\n")
            sys.stdout.flush()
            while True:
                run.stop_if_asked()
                time.sleep(0.05)
        rows, labels = load_iris(return_X_y=True)
        model = LogisticRegression(max_iter=300).fit(rows, labels)
        log_model(model, rows, labels, registered_model_name=run.model_name, holdout=(rows, labels))
        if how == "killed":
            kill()


main(sys.argv[1])
