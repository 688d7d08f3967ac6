"""A throw-away certificate authority: who a test's API server is, and who talks to it."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=2)


class Pair(NamedTuple):
    """A certificate and its private key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for 127.0.0.1 and for client identities; all files lie in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name("trimtab-test-ca", ())
        self.ca = self._write("ca", self._key, self._subject, x509.BasicConstraints(ca=True, path_length=None))

    def server(self, name: str) -> Pair:
        """A certificate for a server on 127.0.0.1 or localhost."""
        addresses = x509.SubjectAlternativeName(
            [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        return self._write(name, ec.generate_private_key(ec.SECP256R1()), _name(name, ()), addresses, usage)

    def client(self, user: str, groups: Sequence[str] = ()) -> Pair:
        """A certificate that makes its bearer `user`, a member of `groups`, to the API server."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        stem = "client-" + user.replace(":", "-")
        return self._write(stem, ec.generate_private_key(ec.SECP256R1()), _name(user, groups), usage)

    def kubeconfig(self, url: str, pair: Pair) -> Path:
        """A kubeconfig that presents `pair` to the API server at `url`."""
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": url, "certificate-authority": str(self.ca.certificate)}}
            ],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        path = pair.certificate.with_name(f"{pair.certificate.stem}-{url.rpartition(':')[2]}.kubeconfig")
        path.write_text(yaml.safe_dump(config))
        return path

    def _write(
        self, stem: str, key: ec.EllipticCurvePrivateKey, subject: x509.Name, *extensions: x509.ExtensionType
    ) -> Pair:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - VALID)
            .not_valid_after(now + VALID)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        pair = Pair(self._folder / f"{stem}.crt", self._folder / f"{stem}.key")
        pair.certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        pair.key.chmod(0o600)
        return pair


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
