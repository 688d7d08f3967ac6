"""A real control plane for tests: etcd and kube-apiserver, and if wanted the controllers and pretended nodes.

No fake API server: schema, CEL, defaulting, server-side apply, watches and RBAC are the real ones, and
they are there in about two seconds. Without `controllers` nothing acts on what is stored (no pods, no
garbage collection); with them and `kwok`, Deployments and Jobs come to life on a node that only pretends.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from hack import ROOT
from tests.pki import Authority, Pair
from tests.processes import Processes, free_port, program

SERVED_SECONDS = 30.0

NODE = """
apiVersion: v1
kind: Node
metadata: {name: pretended, labels: {kubernetes.io/hostname: pretended, kubernetes.io/os: linux}}
status:
  capacity: {cpu: "100000", memory: 100Ti, pods: "100000"}
  allocatable: {cpu: "100000", memory: 100Ti, pods: "100000"}
"""


class ControlPlane:
    """The processes of one control plane, on loopback ports and with keys and files of their own.

    `flags` adds command-line flags to a program, by its name.
    """

    def __init__(self, flags: Mapping[str, Sequence[str]] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trimtab-plane-"))
        self.authority = Authority(self.folder / "pki")
        self._flags = flags or {}
        self.processes = Processes(self.folder)
        self._etcd, self._port = f"http://127.0.0.1:{free_port()}", free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._admin = self.authority.client("admin", ["system:masters"])
        self.kubeconfig = self.authority.kubeconfig(self.url, self._admin)

    @classmethod
    def start(
        cls,
        controllers: bool = False,
        kwok: bool = False,
        crds: bool = False,
        flags: Mapping[str, Sequence[str]] | None = None,
    ) -> ControlPlane:
        """Start the plane and wait until it answers; `kwok` needs the controllers and brings one node.

        With `crds` the project's definitions are there before the controllers: the garbage collector looks for new
        ones only every 30 s, and until then nothing that such an owner leaves behind goes.
        """
        plane = cls(flags)
        try:
            plane._start_etcd()
            plane.start_apiserver()
            if crds:
                plane.install_crds()
            if controllers:
                plane._start_controllers()
            if kwok:
                plane._start_kwok()
        except BaseException:
            plane.stop()
            raise
        return plane

    def start_apiserver(self) -> None:
        """Start the API server on its port, and wait until it is ready."""
        serving = self.authority.server("kube-apiserver")
        signing = self._signing_key()
        self._spawn(
            "kube-apiserver",
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            "--profiling=false",
            f"--client-ca-file={self.authority.ca.certificate}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={signing.certificate}",
            f"--service-account-signing-key-file={signing.key}",
        )
        self.processes.wait("kube-apiserver", lambda: _ok(f"{self.url}/readyz", self.tls()))

    def stop_apiserver(self) -> None:
        """Kill the API server as a power cut would: watches break, requests in flight are lost."""
        self.processes.end("kube-apiserver", signal.SIGKILL)

    def restart_apiserver(self) -> None:
        """Kill the API server and start it again on the same port; returns when it is ready."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop(self) -> None:
        """End all processes, newest first, and remove their files."""
        self.processes.end_all(at_once=("etcd", "kube-apiserver"))
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for anybody; `system:serviceaccount:NAMESPACE:NAME` makes a service account of it."""
        return self.authority.kubeconfig(self.url, self.authority.client(user, groups))

    def tls(self) -> ssl.SSLContext:
        """What a client needs to talk to the API server as administrator."""
        context = ssl.create_default_context(cafile=str(self.authority.ca.certificate))
        context.load_cert_chain(self._admin.certificate, self._admin.key)
        return context

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; its failure is the caller's to judge."""
        command = [str(program("kubectl")), f"--kubeconfig={self.kubeconfig}", *args]
        cache = {"KUBECACHEDIR": str(self.folder / "kubectl")}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=os.environ | cache, timeout=60, check=False
        )

    def install_crds(self) -> None:
        """Install the project's definitions and wait until they are served."""
        self.define(ROOT / "crds")

    def define(self, path: Path) -> None:
        """Install the definitions in a file or folder and wait until they are served; RuntimeError if that fails."""
        applied = self.kubectl("apply", "--server-side", f"--filename={path}")
        if applied.returncode:
            raise RuntimeError(f"kubectl apply of {path} failed: {applied.stderr}")
        deadline = time.monotonic() + SERVED_SECONDS
        while True:
            done = self.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={path}")
            if done.returncode == 0:
                return
            # The conditions of a definition are null until the server has looked at it, which kubectl cannot wait for.
            if "accessor error" not in done.stderr or time.monotonic() > deadline:
                raise RuntimeError(f"the definitions in {path} are not served: {done.stderr}")
            time.sleep(0.1)

    def _start_etcd(self) -> None:
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd}",
            f"--advertise-client-urls={self._etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self.processes.wait("etcd", lambda: _ok(f"{self._etcd}/health"))

    def _start_controllers(self) -> None:
        signing, ca = self._signing_key(), self.authority.ca
        for name, own in (
            (
                "kube-controller-manager",
                [
                    f"--service-account-private-key-file={signing.key}",
                    f"--root-ca-file={ca.certificate}",
                    f"--cluster-signing-cert-file={ca.certificate}",
                    f"--cluster-signing-key-file={ca.key}",
                    "--use-service-account-credentials",
                    # The pretended node sends no heartbeats; its pods must not be given up for lost after a minute.
                    "--node-startup-grace-period=24h",
                    "--node-monitor-grace-period=24h",
                ],
            ),
            ("kube-scheduler", []),
        ):
            config = self.kubeconfig_for(f"system:{name}")
            self._spawn(name, f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0", *own)
        # Pods are refused until the controllers have made the namespace's service account.
        self.processes.wait(
            "kube-controller-manager", lambda: self.kubectl("get", "serviceaccount", "default").returncode == 0
        )

    def _start_kwok(self) -> None:
        self._spawn(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            f"--config={Path(__file__).with_name('kwok.yaml')}",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=0",
            f"--server-address=127.0.0.1:{free_port()}",
        )
        made = self.kubectl("apply", "--server-side", "-f", "-", stdin=NODE)
        if made.returncode:
            raise RuntimeError(f"the pretended node was refused: {made.stderr}")
        ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        self.processes.wait("kwok", lambda: "True" in self.kubectl("get", "node", "pretended", "-o", ready).stdout)

    def _signing_key(self) -> Pair:
        folder = self.folder / "pki"
        pair = Pair(folder / "service-accounts.crt", folder / "service-accounts.key")
        return pair if pair.key.exists() else self.authority.server("service-accounts")

    def _spawn(self, name: str, *flags: str) -> None:
        self.processes.spawn(name, [program(name), *flags, *self._flags.get(name, ())])


def _ok(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as response:
            return bool(response.status == 200)
    except OSError:  # refused, reset, or an HTTP status that says "not yet"
        return False
