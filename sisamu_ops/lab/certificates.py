"""Certificates of the lab: one authority, and one certificate for each server, site and operator.

A subject says what one is, which is what ZooKeeper compares; the alternative name says who.
Source: RFC 5280 (extensions), ZooKeeper Administrator's Guide ("Quorum TLS", "PEM" key stores).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Longer than any lab lives; production renews yearly.
_LIFETIME = timedelta(days=3650)
#: Clocks of a lab are put wrong on purpose.
_EARLIER = timedelta(days=2)
CERTIFICATE, KEY = "certificate.pem", "key.pem"


@dataclass(frozen=True, kw_only=True)
class Authority:
    """Whoever signs the platform's certificates; its key never leaves its directory."""

    directory: Path
    platform: str

    @property
    def certificate(self) -> Path:
        """Return the file everybody trusts by."""
        return self.directory / CERTIFICATE

    def establish(self) -> None:
        """Make the authority unless it is there."""
        if not self.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            name = _subject(self.platform, "authority")
            builder = _builder(name, name, key).add_extension(
                x509.BasicConstraints(ca=True, path_length=0), critical=True
            )
            _keep(self.directory, key, builder.sign(key, hashes.SHA256()))

    def issue(self, directory: Path, unit: str, who: str) -> None:
        """Make a key and its certificate below `directory`, unless they are there.

        `unit` is what its holder is; `who` an IP address, an e-mail-like principal or a name.
        """
        if not (directory / CERTIFICATE).exists():
            key = ec.generate_private_key(ec.SECP256R1())
            issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject
            builder = (
                _builder(_subject(self.platform, unit), issuer, key)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(x509.SubjectAlternativeName([_alternative(who)]), critical=False)
                .add_extension(x509.ExtendedKeyUsage([_usage(unit)]), critical=False)
            )
            _keep(directory, key, builder.sign(self._key(), hashes.SHA256()))

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = load_pem_private_key((self.directory / KEY).read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.directory / KEY} is not a key this module made")
        return key


def _subject(platform: str, unit: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, platform),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        ]
    )


def _usage(unit: str) -> x509.ObjectIdentifier:
    server = unit == "server"
    return ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH


def _alternative(who: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(who))
    except ValueError:
        return x509.RFC822Name(who) if "@" in who else x509.DNSName(who)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFETIME)
    )


def _keep(directory: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    """Write the key first: a certificate stands for a pair that is whole."""
    directory.mkdir(parents=True, exist_ok=True)
    private = directory / KEY
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / CERTIFICATE).write_bytes(certificate.public_bytes(Encoding.PEM))
