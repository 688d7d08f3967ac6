"""The processes of the cluster: what each is started with, which files it reads, and how it says that it is ready.

A component's fingerprint covers its program, arguments, configuration and certificates, so `up` restarts exactly those
that a newer checkout would start differently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster import configs, paths, probes
from hack.cluster.network import Network
from hack.cluster.packages import locate
from hack.cluster.pki import CA, NODE, SERVICE_ACCOUNT_KEY, Identity
from hack.cluster.probes import Probe

PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "metrics-server",
    "kubectl",
)
Ports = tuple[tuple[str, int], ...]

ETCD = "http://127.0.0.1:12379"
API_PORT = 6443
DNS_PORT = 10053
METRICS_PORT = 10443


@dataclass(frozen=True)
class Component:
    """One process. `ports` are those it listens on, as (address, port): a stranger there is reported, not fought."""

    name: str
    argv: tuple[str, ...]
    ready: Probe
    ports: Ports = ()
    files: Mapping[Path, str] = field(default_factory=dict)
    reads: tuple[Path, ...] = ()

    @property
    def log(self) -> Path:
        """The file with its output."""
        return paths.LOG / f"{self.name}.log"

    def fingerprint(self) -> str:
        """Return a digest of everything that the process takes in only when it starts."""
        digest = hashlib.sha256("\0".join(self.argv).encode())
        for path, text in sorted(self.files.items()):
            digest.update(f"\0{path}\0{text}".encode())
        for path in self.reads:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Blueprint:
    """What every component is built from."""

    network: Network
    programs: Mapping[str, Path]
    identities: Mapping[str, Identity]
    pause_image: str

    def component(
        self,
        name: str,
        *flags: str,
        ready: Probe,
        ports: Ports,
        files: Mapping[Path, str] | None = None,
        reads: tuple[Path, ...] = (),
    ) -> Component:
        """Return the component that runs the program of the same name."""
        return Component(name, (str(self.programs[name]), *flags), ready, ports, files or {}, reads)


def all_components(plan: Blueprint) -> dict[str, Component]:
    """Return the components by name, in an order in which each finds what it needs once its forerunners are ready."""
    control_plane = (_etcd, _containerd, _apiserver, _controller_manager, _scheduler)
    node = (_kubelet, _proxy, _coredns, _metrics_server)
    return {component.name: component for component in (make(plan) for make in (*control_plane, *node))}


def _etcd(plan: Blueprint) -> Component:
    peers = "http://127.0.0.1:12380"
    flags = (
        f"--data-dir={paths.ETCD}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        # A reboot ends the cluster anyway; not waiting for the disk makes every write of a test faster.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    ports = (("127.0.0.1", 12379), ("127.0.0.1", 12380))
    return plan.component("etcd", *flags, ready=probes.http(f"{ETCD}/health"), ports=ports)


def _containerd(plan: Blueprint) -> Component:
    config = paths.CONFIG / "containerd.toml"
    files = {
        config: configs.containerd(plan.pause_image),
        paths.CNI / "10-trimtab.conflist": configs.cni(plan.network),
    }
    argv = (str(locate("containerd") or "containerd"), "--config", str(config))
    log = paths.LOG / "containerd.log"
    return Component("containerd", argv, probes.containerd(paths.CONTAINERD_SOCKET, log), files=files)


def _apiserver(plan: Blueprint) -> Component:
    node, own = str(plan.network.node), plan.identities["apiserver"]
    kubelet, front, admin = (plan.identities[name] for name in ("kubelet-client", "front-proxy", "admin"))
    flags = (
        f"--etcd-servers={ETCD}",
        f"--bind-address={node}",
        f"--advertise-address={node}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={plan.network.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={CA.certificate}",
        *_serving(own),
        f"--service-account-key-file={SERVICE_ACCOUNT_KEY}",
        f"--service-account-signing-key-file={SERVICE_ACCOUNT_KEY}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--kubelet-client-certificate={kubelet.certificate}",
        f"--kubelet-client-key={kubelet.key}",
        f"--kubelet-certificate-authority={CA.certificate}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={CA.certificate}",
        f"--requestheader-allowed-names={front.user}",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={front.certificate}",
        f"--proxy-client-key-file={front.key}",
        # Without a kube-proxy hop: metrics-server is a process on the node, not a Pod.
        "--enable-aggregator-routing=true",
        "--allow-privileged=true",
    )
    ready = probes.https(f"https://{node}:{API_PORT}/readyz", CA.certificate, admin.certificate, admin.key)
    reads = (*(who.certificate for who in (CA, own, kubelet, front)), SERVICE_ACCOUNT_KEY)
    return plan.component("kube-apiserver", *flags, ready=ready, ports=((node, API_PORT),), reads=reads)


def _controller_manager(plan: Blueprint) -> Component:
    own = plan.identities["controller-manager"]
    flags = (
        *_client(own),
        *_serving(own),
        "--bind-address=127.0.0.1",
        f"--service-account-private-key-file={SERVICE_ACCOUNT_KEY}",
        f"--root-ca-file={CA.certificate}",
        f"--cluster-signing-cert-file={CA.certificate}",
        f"--cluster-signing-key-file={CA.key}",
        "--use-service-account-credentials",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={plan.network.pods}",
        f"--node-cidr-mask-size={plan.network.pods.prefixlen}",
        f"--flex-volume-plugin-dir={paths.STATE / 'flex-volumes'}",
        # The default of 15 s would make every look at autoscaling three times as long.
        "--horizontal-pod-autoscaler-sync-period=5s",
        "--leader-elect=false",
    )
    ready = probes.https("https://127.0.0.1:10257/healthz", CA.certificate)
    reads = (CA.certificate, own.certificate, SERVICE_ACCOUNT_KEY)
    return plan.component("kube-controller-manager", *flags, ready=ready, ports=(("127.0.0.1", 10257),), reads=reads)


def _scheduler(plan: Blueprint) -> Component:
    own = plan.identities["scheduler"]
    flags = (*_client(own), *_serving(own), "--bind-address=127.0.0.1", "--leader-elect=false")
    ready = probes.https("https://127.0.0.1:10259/healthz", CA.certificate)
    reads = (CA.certificate, own.certificate)
    return plan.component("kube-scheduler", *flags, ready=ready, ports=(("127.0.0.1", 10259),), reads=reads)


def _kubelet(plan: Blueprint) -> Component:
    own, config = plan.identities["kubelet"], paths.CONFIG / "kubelet.json"
    resolver = paths.CONFIG / "resolv.conf"
    flags = (
        f"--config={config}",
        f"--kubeconfig={own.kubeconfig}",
        f"--root-dir={paths.KUBELET}",
        f"--hostname-override={NODE}",
        f"--node-ip={plan.network.node}",
    )
    files = {config: configs.kubelet(plan.network, own, resolver), resolver: f"nameserver {plan.network.dns_service}\n"}
    ports = ((str(plan.network.node), 10250), ("127.0.0.1", 10248))
    ready = probes.http("http://127.0.0.1:10248/healthz")
    reads = (CA.certificate, own.certificate)
    return plan.component("kubelet", *flags, ready=ready, ports=ports, files=files, reads=reads)


def _proxy(plan: Blueprint) -> Component:
    own, config = plan.identities["proxy"], paths.CONFIG / "kube-proxy.json"
    ports = (("127.0.0.1", 10256), ("127.0.0.1", 10249))
    ready = probes.http("http://127.0.0.1:10256/healthz")
    files = {config: configs.proxy(plan.network, own)}
    flag = f"--config={config}"
    return plan.component("kube-proxy", flag, ready=ready, ports=ports, files=files, reads=(own.kubeconfig,))


def _coredns(plan: Blueprint) -> Component:
    own, config, node = plan.identities["coredns"], paths.CONFIG / "Corefile", str(plan.network.node)
    ready = probes.http(f"http://{node}:{DNS_PORT + 1}/ready")
    files = {config: configs.corefile(plan.network, own, DNS_PORT)}
    ports = ((node, DNS_PORT), (node, DNS_PORT + 1))
    flags = ("-conf", str(config))
    return plan.component("coredns", *flags, ready=ready, ports=ports, files=files, reads=(own.kubeconfig,))


def _metrics_server(plan: Blueprint) -> Component:
    own, node = plan.identities["metrics-server"], str(plan.network.node)
    flags = (
        *_client(own),
        *_serving(own),
        f"--bind-address={node}",
        f"--secure-port={METRICS_PORT}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-certificate-authority={CA.certificate}",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    )
    ready = probes.https(f"https://{node}:{METRICS_PORT}/livez", CA.certificate)
    reads = (CA.certificate, own.certificate)
    return plan.component("metrics-server", *flags, ready=ready, ports=((node, METRICS_PORT),), reads=reads)


def _client(own: Identity) -> tuple[str, ...]:
    flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
    return tuple(f"--{flag}={own.kubeconfig}" for flag in flags)


def _serving(own: Identity) -> tuple[str, ...]:
    return (f"--tls-cert-file={own.certificate}", f"--tls-private-key-file={own.key}")
