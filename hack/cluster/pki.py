"""The cluster's own certificate authority, its certificates and its kubeconfigs.

Each component has an identity of its own and no more rights than Kubernetes gives that identity. A certificate is
made again when it nears its end, was signed by another authority, or no longer says what is wanted of it (addresses).
"""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hack.cluster import paths
from hack.cluster.files import write_atomically
from hack.cluster.network import Network

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 365
RENEW_BEFORE = datetime.timedelta(days=30)
NODE = "trimtab"


@dataclass(frozen=True)
class Identity:
    """Who a certificate is for: its user name and group to the API server, and the names it serves under."""

    name: str
    user: str
    group: str = ""
    names: tuple[str, ...] = ()
    addresses: tuple[IPv4Address, ...] = ()

    @property
    def certificate(self) -> Path:
        """The PEM file of the certificate."""
        return paths.PKI / f"{self.name}.crt"

    @property
    def key(self) -> Path:
        """The PEM file of the private key."""
        return paths.PKI / f"{self.name}.key"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig that presents this certificate."""
        return paths.PKI / f"{self.name}.kubeconfig"


CA = Identity("ca", "trimtab-ca")
SERVICE_ACCOUNT_KEY = paths.PKI / "service-account.key"


def identities(network: Network) -> list[Identity]:
    """Return everyone who needs a certificate."""
    local = IPv4Address("127.0.0.1")
    in_cluster = "kubernetes.default.svc.cluster.local"
    # As Pods may shorten it: kubernetes, kubernetes.default, and so on.
    names = [".".join(in_cluster.split(".")[:length]) for length in (1, 2, 3, 5)]
    return [
        Identity("apiserver", "kube-apiserver", "", ("localhost", *names), (local, network.node, network.api_service)),
        Identity("admin", "trimtab-admin", "system:masters"),
        Identity("controller-manager", "system:kube-controller-manager", "", ("localhost",), (local,)),
        Identity("scheduler", "system:kube-scheduler", "", ("localhost",), (local,)),
        Identity("proxy", "system:kube-proxy"),
        Identity("kubelet", f"system:node:{NODE}", "system:nodes", (NODE,), (network.node,)),
        Identity("kubelet-client", "kube-apiserver-kubelet-client"),
        Identity("front-proxy", "front-proxy-client"),
        Identity("coredns", "system:coredns"),
        Identity("metrics-server", "system:metrics-server", "", ("metrics-server.kube-system.svc",), (network.node,)),
    ]


def ensure(network: Network) -> dict[str, Identity]:
    """Make what is missing or no longer right, and a kubeconfig for each identity; returns the identities by name."""
    paths.PKI.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not _fits(CA, None):
        _issue(CA, None)
    if not SERVICE_ACCOUNT_KEY.exists():
        _write_key(SERVICE_ACCOUNT_KEY, ec.generate_private_key(ec.SECP256R1()))
    authority = _load(CA.certificate)
    wanted = identities(network)
    for identity in wanted:
        if not _fits(identity, authority):
            _issue(identity, authority)
        write_atomically(identity.kubeconfig, kubeconfig(identity, network), mode=0o600)
    write_atomically(paths.KUBECONFIG, kubeconfig(wanted[1], network), mode=0o600)
    return {identity.name: identity for identity in wanted}


def kubeconfig(identity: Identity, network: Network) -> str:
    """Return a kubeconfig with everything inside, so that it can be copied anywhere on this machine."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    server = {"server": f"https://{network.node}:6443", "certificate-authority-data": inline(CA.certificate)}
    user = {"client-certificate-data": inline(identity.certificate), "client-key-data": inline(identity.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NODE, "cluster": server}],
        "users": [{"name": identity.user, "user": user}],
        "contexts": [{"name": NODE, "context": {"cluster": NODE, "user": identity.user}}],
        "current-context": NODE,
    }
    return json.dumps(document, indent=2) + "\n"


def _fits(identity: Identity, authority: x509.Certificate | None) -> bool:
    if not (identity.certificate.exists() and identity.key.exists()):
        return False
    certificate = _load(identity.certificate)
    if certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < RENEW_BEFORE:
        return False
    if _subject(identity) != certificate.subject or _served(certificate) != set(_alternatives(identity)):
        return False
    try:
        certificate.verify_directly_issued_by(authority or certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _issue(identity: Identity, authority: x509.Certificate | None) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signer = key if authority is None else _load_key(CA.key)
    now = datetime.datetime.now(datetime.UTC)
    days = AUTHORITY_DAYS if authority is None else CERTIFICATE_DAYS
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(identity))
        .issuer_name(_subject(identity) if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if authority is not None:
        builder = _for_use(builder, identity, signer)
    _write_key(identity.key, key)
    certificate = builder.sign(signer, hashes.SHA256())
    write_atomically(identity.certificate, certificate.public_bytes(serialization.Encoding.PEM).decode(), mode=0o644)


def _for_use(
    builder: x509.CertificateBuilder, identity: Identity, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.names:
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        builder = builder.add_extension(x509.SubjectAlternativeName(_alternatives(identity)), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False).add_extension(issuer, critical=False)


def _subject(identity: Identity) -> x509.Name:
    group = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, identity.group)] if identity.group else []
    return x509.Name([*group, x509.NameAttribute(NameOID.COMMON_NAME, identity.user)])


def _alternatives(identity: Identity) -> list[x509.GeneralName]:
    return [*map(x509.DNSName, identity.names), *map(x509.IPAddress, identity.addresses)]


def _served(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        found: Iterable[x509.GeneralName] = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        return set()
    return set(found)


def _load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds no elliptic-curve key")
    return key


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    # The older encoding: the API server cannot read a service-account key from PKCS#8.
    encoding = serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(serialization.Encoding.PEM, encoding, serialization.NoEncryption())
    write_atomically(path, private.decode(), mode=0o600)
