"""`python -m hack.demo`: from an empty machine to a model served, replaced, scaled, and retrained on drift."""

from __future__ import annotations

import time

import click

from hack import images
from hack.cluster import engine, paths
from hack.demo import release, retraining, story
from hack.progress import elapsed, say, step

NEXT = """
What to try next (export KUBECONFIG={kubeconfig}):
  kubectl -n demo get mlm,mdep -o wide                 what is served, and from where
  kubectl -n demo describe mdep tumour                 conditions and events
  kubectl -n demo scale mdep tumour --replicas=3       the scale subresource
  kubectl explain mdep.spec                            every field, with its limits
  kubectl -n demo edit mdep tumour                     pin spec.model.revision to an older digest: that is a rollback
  kubectl -n demo port-forward svc/tumour 8080:80      then: curl localhost:8080/v2/models/tumour
  kubectl -n demo-flights get rts flights -o yaml      what started a training, and what became of it
  make down                                            takes everything away again
"""


@click.command(help=__doc__)
def main() -> None:
    """Show all of it."""
    began = time.monotonic()
    engine.up()
    built = images.build_all()
    with step("install Trimtab and MLflow with Helm"):
        release.install(built)
    story.tell()
    retraining.tell()
    say(NEXT.format(kubeconfig=paths.KUBECONFIG))
    say(f"the demo took {elapsed(time.monotonic() - began)}")


if __name__ == "__main__":
    main()
