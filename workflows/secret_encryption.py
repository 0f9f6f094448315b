"""Secrets at rest: AES-256-GCM under the keys of WORKFLOW_SECRET_KEYS (docs/reference/administration.md#tenants-and-roles).

Rules it keeps. The first key encrypts, every key decrypts. The key's id, the tenant and the name are authenticated with
the value, so a ciphertext that is copied into another row, or another tenant's, does not decrypt there.
"""

import secrets
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

# What the stored bytes begin with; another way of storing them would have another number.
FORM = b"\x01"
NONCE_BYTES = 12


class KeyMissing(Exception):
    """The value is encrypted under a key that this process was not given, or there is no key at all. An operator must act."""


class DecryptionFailed(Exception):
    """The value is not what was encrypted for this tenant and name. An operator must look."""


def first_key_id() -> str:
    """Errors: KeyMissing when no key is set."""
    first = next(iter(settings.WORKFLOW_SECRET_KEYS), None)
    if first is None:
        raise KeyMissing(
            "WORKFLOW_SECRET_KEYS is not set, and without a key nothing can be encrypted; set it and restart"
        )
    return str(first)


def can_open(key_id: str) -> bool:
    return key_id in settings.WORKFLOW_SECRET_KEYS


def seal(value: str, *, tenant_id: uuid.UUID, name: str) -> tuple[str, bytes]:
    """The id of the first key, and the value encrypted under it. Errors: KeyMissing."""
    key_id = first_key_id()
    nonce = secrets.token_bytes(NONCE_BYTES)
    cipher = AESGCM(settings.WORKFLOW_SECRET_KEYS[key_id])
    return key_id, FORM + nonce + cipher.encrypt(nonce, value.encode(), _associated(key_id, tenant_id, name))


def unseal(sealed: bytes, *, key_id: str, tenant_id: uuid.UUID, name: str) -> str:
    """Errors: KeyMissing, DecryptionFailed."""
    key = settings.WORKFLOW_SECRET_KEYS.get(key_id)
    if key is None:
        raise KeyMissing(
            f"the secret {name} is encrypted under the key {key_id!r}, which this process does not have; add that key to"
            " WORKFLOW_SECRET_KEYS (behind the first) and restart, or save the secret again"
        )
    start = len(FORM) + NONCE_BYTES
    try:
        opened = AESGCM(key).decrypt(sealed[len(FORM) : start], sealed[start:], _associated(key_id, tenant_id, name))
    except (InvalidTag, ValueError) as error:  # ValueError: shorter than a nonce
        raise DecryptionFailed(
            f"the secret {name} does not decrypt under the key {key_id!r}: its row was altered or copied from elsewhere,"
            " or WORKFLOW_SECRET_KEYS gives that id to another key; save the secret again"
        ) from error
    return opened.decode()


def _associated(key_id: str, tenant_id: uuid.UUID, name: str) -> bytes:
    return b"\0".join([b"pointsman-secret", FORM, key_id.encode(), tenant_id.bytes, name.encode()])
