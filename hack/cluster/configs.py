"""The configuration files of the components, as text. Pure: nothing here touches the machine."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template

from hack.cluster import paths
from hack.cluster.network import BRIDGE, Network
from hack.cluster.pki import CA, NODE, Identity

MAX_PODS = 200

_CONTAINERD = Template("""\
version = 2
root = "$root"
state = "$state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  # Where CAP_SYS_RESOURCE is missing, lowering a score below our own is refused and runc dies of it.
  restrict_oom_score_adj = true
  sandbox_image = "$pause"
  # Network namespaces lie below our own folder, so that one sweep of its mounts finds them all.
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
""")

_COREFILE = Template("""\
cluster.local:$port in-addr.arpa:$port ip6.arpa:$port {
  bind $node
  errors
  ready $node:$ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $kubeconfig
    pods insecure
    ttl 5
  }
  cache 5
  loadbalance
}
# Pods cannot leave this machine: a name outside is answered at once with "no such name", not with a timeout.
.:$port {
  bind $node
  template ANY ANY {
    rcode NXDOMAIN
  }
}
""")


def containerd(pause_image: str) -> str:
    """Return containerd's configuration."""
    return _CONTAINERD.substitute(
        root=paths.CONTAINERD_ROOT,
        state=paths.CONTAINERD_STATE,
        socket=paths.CONTAINERD_SOCKET,
        pause=pause_image,
        cni=paths.CNI,
    )


def cni(network: Network) -> str:
    """Return the Pod network: one bridge, no masquerading, since nothing is to leave the machine.

    There is no port mapping: `hostPort` is not offered.
    """
    addresses = {
        "type": "host-local",
        "dataDir": str(paths.STATE / "ipam"),
        "ranges": [[{"subnet": str(network.pods)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipMasq": False, "hairpinMode": True}
    document = {"cniVersion": "0.4.0", "name": NODE, "plugins": [{**bridge, "ipam": addresses}]}
    return json.dumps(document, indent=2)


def kubelet(network: Network, own: Identity, resolver: Path) -> str:
    """Return the kubelet's configuration. JSON is YAML, so a real serializer does the quoting."""
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(network.node),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(CA.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(own.certificate),
        "tlsPrivateKeyFile": str(own.key),
        "cgroupDriver": "cgroupfs",
        "failSwapOn": False,
        "clusterDNS": [str(network.dns_service)],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "containerRuntimeEndpoint": f"unix://{paths.CONTAINERD_SOCKET}",
        "podLogsDir": str(paths.POD_LOGS),
        "volumePluginDir": str(paths.KUBELET / "volume-plugins"),
        "maxPods": MAX_PODS,
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        # The control plane and the tests run beside the Pods.
        "systemReserved": {"cpu": "100m", "memory": "1Gi"},
        # A developer's disk is often nearly full; that must neither evict Pods nor delete their images.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
            "imagefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }
    return json.dumps(document, indent=2)


def proxy(network: Network, own: Identity) -> str:
    """Return kube-proxy's configuration."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(own.kubeconfig)},
        "mode": "iptables",
        "clusterCIDR": str(network.pods),
        "hostnameOverride": NODE,
        "bindAddress": str(network.node),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": ["primary"],
        # Zeros leave the conntrack sysctls alone, which not every machine lets us set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    return json.dumps(document, indent=2)


def corefile(network: Network, own: Identity, port: int) -> str:
    """Return CoreDNS's configuration; readiness is served on the port after `port`."""
    return _COREFILE.substitute(node=network.node, port=port, ready=port + 1, kubeconfig=own.kubeconfig)
