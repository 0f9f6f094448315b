"""Format and verification of signed exports of the command ledger. The verification needs no database.

Shapes: the first line of the file is the manifest. Every further line is one link of the audit chain: `{seq, hash,
content}`. The signature file has the Ed25519 signature of the bytes of the manifest. The manifest has the hash before
the first link and the hash of the last link, so the signature covers every line.

Source: docs/reference/authority.md#signed-export
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FORMAT, SIGNATURE_FORMAT = "pointsman.ledger", "pointsman.ledger-signature"


class ExportInvalid(Exception):
    """The export was changed, is incomplete, or was signed with another key. The auditor must get a new export."""


@dataclass(frozen=True)
class VerifiedExport:
    """Result of a verification without a problem."""

    manifest: dict[str, Any]
    links: int


def manifest_line(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def link_line(seq: int, digest: str, content: str) -> bytes:
    return json.dumps({"seq": seq, "hash": digest, "content": content}, separators=(",", ":")).encode() + b"\n"


def public_key_of(seed: bytes) -> str:
    """Return the public key of a private key of 32 bytes, as base64."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def signature_of(manifest: dict[str, Any], *, key_id: str, seed: bytes) -> dict[str, Any]:
    """Sign a manifest. Return the content of the signature file."""
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(manifest_line(manifest))
    return {
        "format": SIGNATURE_FORMAT,
        "formatVersion": 1,
        "algorithm": "Ed25519",
        "keyId": key_id,
        "publicKey": public_key_of(seed),
        "signature": base64.b64encode(signature).decode(),
    }


def verify_export(lines: Iterable[bytes], signature: bytes, *, public_key: str) -> VerifiedExport:
    """Verify an export. `lines`: the lines of the file. `public_key`: the key that the auditor trusts, as base64.

    Errors: ExportInvalid with the first problem.
    """
    rest = iter(lines)
    first = next(rest, b"")
    _verify_signature(first, _object(signature, "the signature file"), public_key)
    manifest = _object(first, "line 1")
    if manifest.get("format") != FORMAT or manifest.get("formatVersion") != 1:
        raise ExportInvalid(f"line 1 is no manifest of the format {FORMAT}, version 1")
    previous, seq, number = manifest["previousHash"], manifest["firstSequence"] - 1, 0
    for number, line in enumerate(rest, start=1):
        link = _object(line, f"line {number + 1}")
        seq += 1
        if link.get("seq") != seq:
            raise ExportInvalid(f"line {number + 1}: link {seq} is missing; the line has link {link.get('seq')}")
        digest = hashlib.sha256((previous + str(link.get("content"))).encode()).hexdigest()
        if digest != link.get("hash"):
            raise ExportInvalid(f"line {number + 1}: link {seq} was changed; its content does not match its hash")
        if line != link_line(seq, digest, link["content"]):
            raise ExportInvalid(f"line {number + 1}: text that no hash covers was added to link {seq}")
        previous = digest
    if number != manifest["links"]:
        raise ExportInvalid(
            f"the file has {number} links, and the manifest says {manifest['links']}; lines are missing"
        )
    if previous != manifest["lastHash"]:
        raise ExportInvalid("the last hash is not the hash of the manifest; links were replaced")
    return VerifiedExport(manifest, number)


def _verify_signature(first: bytes, signature: dict[str, Any], public_key: str) -> None:
    if signature.get("format") != SIGNATURE_FORMAT or signature.get("algorithm") != "Ed25519":
        raise ExportInvalid(f"the signature file does not have the format {SIGNATURE_FORMAT}")
    if signature.get("publicKey") != public_key:
        raise ExportInvalid(
            f"the export was signed with another key ({signature.get('keyId')}, {signature.get('publicKey')}); the"
            f" trusted public key is {public_key}"
        )
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(str(signature.get("signature")), validate=True), first)
    except (binascii.Error, ValueError) as error:
        raise ExportInvalid(f"the public key or the signature is not readable: {error}") from error
    except InvalidSignature as error:
        raise ExportInvalid(
            "the signature does not belong to line 1 of the file; the manifest was changed, or the two files are from"
            " different exports"
        ) from error


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ExportInvalid(f"{what} is not JSON; the file was changed or is cut off") from error
    if not isinstance(value, dict):
        raise ExportInvalid(f"{what} is not a JSON object")
    return value
