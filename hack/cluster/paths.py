"""Where everything of the local cluster lies. Two lifetimes, two places:

* the cache (`~/.cache/trimtab`, or `TRIMTAB_CACHE`): programs, container images, layers. Kept by `down`, so that the
  next `up` is warm; removed by `down --purge`.
* the cluster below it (`cluster/`): keys, etcd's data, sockets, logs, mounts, volumes. Ends with `down`.
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("TRIMTAB_CACHE") or "~/.cache/trimtab").expanduser().absolute()

BIN = CACHE / "bin"
LOGS = CACHE / "logs"
BUILDAH = CACHE / "buildah"
CONTAINERD_ROOT = CACHE / "containerd"
LOCK = CACHE / "lock"

KUBECONFIG = CACHE / "kubeconfig"
"""The administrator's kubeconfig, at the same place whichever way the cluster runs; absent while there is none."""

STATE = CACHE / "cluster"
ENGINE = STATE / "engine"
BOOT_ID = STATE / "boot_id"
PKI = STATE / "pki"
CONFIG = STATE / "config"
CNI = STATE / "cni"
LOG = STATE / "log"
ETCD = STATE / "etcd"
KUBELET = STATE / "kubelet"
POD_LOGS = STATE / "podlogs"
VOLUMES = STATE / "volumes"
CONTAINERD_STATE = STATE / "containerd"
CONTAINERD_SOCKET = STATE / "containerd.sock"

LONGEST_SOCKET_PATH = 107
