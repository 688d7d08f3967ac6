"""The small things the cluster makes by itself: a trial program, the pause image, certificates, files, locks."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import psutil
import pytest

from hack.cluster import docker, paths, pause, pki, ports, volumes
from hack.cluster.catalog import architecture
from hack.cluster.files import write_atomically
from hack.cluster.network import from_environment
from hack.command import Failure, run


def test_the_trial_program_runs_and_succeeds(tmp_path: Path) -> None:
    program = tmp_path / "trial"
    program.write_bytes(docker.smallest_program(architecture()))
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 0


def test_the_pause_image_holds_the_program_under_its_digest(tmp_path: Path) -> None:
    program, archive = tmp_path / "catatonit", tmp_path / "pause.tar"
    program.write_bytes(b"static program")
    pause.archive(program, archive)
    with tarfile.open(archive) as tar:
        content = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    config = json.loads(content["config.json"])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content['layer.tar']).hexdigest()}"]
    assert json.loads(content["manifest.json"])[0]["RepoTags"] == [pause.reference(program)]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "PKI", tmp_path / "pki")
    monkeypatch.setattr(paths, "KUBECONFIG", tmp_path / "kubeconfig")
    monkeypatch.setattr(pki, "SERVICE_ACCOUNT_KEY", tmp_path / "pki" / "service-account.key")
    return tmp_path / "pki"


def _digests(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*.crt")}


def test_certificates_that_still_fit_are_kept_and_those_with_old_addresses_are_not(keys: Path) -> None:
    network = from_environment({})
    pki.ensure(network)
    first = _digests(keys)
    pki.ensure(network)
    assert _digests(keys) == first
    pki.ensure(replace(network, node=IPv4Address("10.245.0.2")))
    changed = {name for name, digest in _digests(keys).items() if digest != first[name]}
    assert changed == {"apiserver.crt", "kubelet.crt", "metrics-server.crt"}


def test_a_certificate_near_its_end_and_all_below_a_new_authority_are_made_again(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = from_environment({})
    with monkeypatch.context() as short:
        short.setattr(pki, "CERTIFICATE_DAYS", 29)
        pki.ensure(network)
    first = _digests(keys)
    pki.ensure(network)
    second = _digests(keys)
    assert {name for name in first if first[name] == second[name]} == {"ca.crt"}
    (keys / "ca.crt").unlink()
    pki.ensure(network)
    assert not set(second.items()) & set(_digests(keys).items())


def test_private_keys_are_for_their_owner_alone(keys: Path) -> None:
    pki.ensure(from_environment({}))
    secret = [*keys.glob("*.key"), *keys.glob("*.kubeconfig"), paths.KUBECONFIG]
    assert {oct(file.stat().st_mode & 0o777) for file in secret} == {"0o600"}


def test_volumes_whose_claim_is_gone_are_offered_again() -> None:
    phases = {"a": "Bound", "b": "Released", "c": "Available", "d": "Failed"}
    items = [{"metadata": {"name": name}, "status": {"phase": phase}} for name, phase in phases.items()]
    assert volumes.used_up([*items, {"metadata": {"name": "new"}, "status": {}}]) == ["b", "d", "new"]


def test_a_file_that_is_right_already_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "config"
    write_atomically(file, "text", mode=0o600)
    os.utime(file, (1, 1))
    write_atomically(file, "text", mode=0o600)
    assert file.stat().st_mtime == 1
    write_atomically(file, "other", mode=0o600)
    assert (file.read_text(), [entry.name for entry in tmp_path.iterdir()]) == ("other", ["config"])


def test_a_failed_command_is_quoted_with_its_last_words() -> None:
    with pytest.raises(Failure, match=r"`sh -c .*` ended with 3:\nout of cheese"):
        run(["sh", "-c", "echo out of cheese >&2; exit 3"])
    with pytest.raises(Failure, match="did not end within 0 s"):
        run(["sleep", "60"], timeout=0.1)


def test_a_killed_command_takes_its_child_along() -> None:
    script = "from hack.command import run; run(['sleep', '61'], timeout=60)"
    with subprocess.Popen([sys.executable, "-c", script], cwd=paths.REPOSITORY) as parent:
        deadline = time.monotonic() + 20
        children: list[psutil.Process] = []
        while not (children and children[0].name() == "sleep") and time.monotonic() < deadline:
            children = psutil.Process(parent.pid).children()
            time.sleep(0.02)
        assert [child.name() for child in children] == ["sleep"]
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_port_that_a_stranger_holds_is_reported_with_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        expected = rf"^etcd needs 127\.0\.0\.1:{port}, which is taken by .*\(pid {os.getpid()}\)"
        with pytest.raises(Failure, match=expected):
            ports.require_free("etcd", [("127.0.0.1", port)])
    ports.require_free("etcd", [("127.0.0.1", port)])
