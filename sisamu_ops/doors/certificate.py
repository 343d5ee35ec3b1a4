"""Certificates as files: what one says of its holder, and until when (RFC 5280)."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import NameOID

from sisamu_ops.model.errors import ConfigurationError
from sisamu_ops.model.platform import Certificate


def read_certificate(path: Path) -> Certificate:
    """Read the first certificate of a PEM file; ConfigurationError when there is none."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "not a readable certificate", place=str(path), remedy="name a PEM file"
        ) from error
    units = found.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return Certificate(
        role=str(units[0].value) if units else "",
        holder=_holder(found),
        ends=found.not_valid_after_utc.astimezone(UTC),
    )


def _holder(certificate: x509.Certificate) -> str:
    """Return who its alternative name says it is, or nothing."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    return ", ".join(str(name.value) for name in names)
