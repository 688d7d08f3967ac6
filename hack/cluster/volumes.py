"""Persistent volumes without a provisioner: a pool of folders on the node, offered as `local` volumes.

`local` and not `hostPath`, because kubelet gives a `local` volume to the Pod's `fsGroup`; the folders are open to any
user besides, so that a Pod without `fsGroup` can write as well. A volume whose claim is gone is emptied and offered
again by the next `up`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from hack.cluster import kubectl, paths
from hack.cluster.pki import NODE

COUNT = 24
CAPACITY = "20Gi"
STORAGE_CLASS = "trimtab-local"
_FREE = ("Available", "Bound", "Pending")


def volume(number: int) -> dict[str, Any]:
    """Return the manifest of one volume."""
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _name(number)},
        "spec": {
            "capacity": {"storage": CAPACITY},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(_folder(number))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
        },
    }


def used_up(volumes: list[dict[str, Any]]) -> list[str]:
    """Return the names of volumes that no claim will ever get again."""
    return [item["metadata"]["name"] for item in volumes if item["status"].get("phase") not in _FREE]


def replenish() -> None:
    """Bring the pool to its full number, emptying what was used."""
    present = [item for item in kubectl.read("persistentvolumes")["items"] if item["spec"].get("local")]
    released = used_up(present)
    if released:
        kubectl.kubectl("delete", "persistentvolume", *released)
    names = {item["metadata"]["name"] for item in present} - set(released)
    absent = [number for number in range(COUNT) if _name(number) not in names]
    for number in absent:
        folder = _folder(number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    if absent:
        items = [volume(number) for number in absent]
        kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _name(number: int) -> str:
    return f"local-{number:02d}"


def _folder(number: int) -> Path:
    return paths.VOLUMES / _name(number)
