"""The lab's certificate authority, like VMCA: it signs the vCenter's certificate and one per ESXi host.

The client gets `ca.pem` as its trust anchor, so that everything verifies TLS as in production. Key and certificate are
made once per state directory and kept there, mode 0600. The extensions are what Python 3.13's VERIFY_X509_STRICT asks
for: basicConstraints and keyUsage critical, subject and authority key identifiers.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=825)


@dataclass(frozen=True)
class Certificate:
    """`path` holds key, certificate and CA in PEM; thumbprints as vSphere writes them (upper case, colons)."""

    path: Path
    pem: str
    sha1: str
    sha256: str

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.path)
        return context


def thumbprint(der: bytes, algorithm: str) -> str:
    digest = hashlib.new(algorithm, der, usedforsecurity=False).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read, replacing an older one in a single step."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    fresh.replace(path)


class Authority:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.ca_file = directory / "ca.pem"
        self._lock = threading.Lock()
        self._issued: dict[str, Certificate] = {}
        self._key, self._certificate = self._load() if (directory / "ca-key.pem").exists() else self._create()

    def issue(self, name: str) -> Certificate:
        """The certificate of a server called `name` (a vCenter or an ESXi host), also valid for the loopback."""
        with self._lock:
            if name not in self._issued:
                path = self.directory / f"{name}.pem"
                if not path.exists():
                    write_private(path, self._sign(name))
                self._issued[name] = _read(path)
            return self._issued[name]

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = serialization.load_pem_private_key((self.directory / "ca-key.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key, x509.load_pem_x509_certificate(self.ca_file.read_bytes())

    def _create(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("vSphere lab CA")
        builder = _builder(name, name, key.public_key(), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=True), critical=True)
        certificate = builder.sign(key, hashes.SHA256())
        write_private(self.ca_file, certificate.public_bytes(serialization.Encoding.PEM))
        write_private(self.directory / "ca-key.pem", _key_pem(key))
        return key, certificate

    def _sign(self, name: str) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._certificate.subject, key.public_key(), self._key.public_key())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(sign_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        return _key_pem(key) + certificate.public_bytes(pem) + self._certificate.public_bytes(pem)


def _read(path: Path) -> Certificate:
    text = path.read_text("ascii")
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    pem = text[text.index(begin) : text.index(end) + len(end)] + "\n"
    der = ssl.PEM_cert_to_DER_cert(pem)
    return Certificate(path, pem, thumbprint(der, "sha1"), thumbprint(der, "sha256"))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "vcb-console"),
                      x509.NameAttribute(NameOID.COMMON_NAME, common)])  # fmt: skip


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, issuer_public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=sign_certificates, crl_sign=sign_certificates, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
