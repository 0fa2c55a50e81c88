"""Certificates of an authority that is made for one test run."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


def write_certificate(authority: trustme.CA, path: Path, *hosts: str) -> Path:
    """Write a key in the form that Java reads (PKCS #8), and its chain, as one PEM file."""
    issued = authority.issue_cert(*hosts)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(pem + b"".join(each.bytes() for each in issued.cert_chain_pems))
    return path


def write_authority(authority: trustme.CA, path: Path) -> Path:
    """Write what clients have to trust."""
    authority.cert_pem.write_to_path(str(path))
    return path
