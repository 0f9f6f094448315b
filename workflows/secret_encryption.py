"""Encryption of stored secrets: AES-256-GCM with the keys of WORKFLOW_SECRET_KEYS.

- The first key encrypts. Every key decrypts.
- The key's id, the tenant and the name of the secret are authenticated with the value. A ciphertext that is copied into
  another row or another tenant therefore does not decrypt there.

Source: docs/reference/administration.md#tenants-and-roles
"""

import secrets
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

# Version of the stored format. It is the first byte of a stored value.
FORM = b"\x01"
NONCE_BYTES = 12


class KeyMissing(Exception):
    """This process does not have the key of a value, or has no key at all. The operator must act."""


class DecryptionFailed(Exception):
    """The stored value was not encrypted for this tenant and name. The operator must act."""


def first_key_id() -> str:
    """Return the id of the key that encrypts.

    Errors: KeyMissing if no key is set.
    """
    first = next(iter(settings.WORKFLOW_SECRET_KEYS), None)
    if first is None:
        raise KeyMissing(
            "WORKFLOW_SECRET_KEYS is not set. Secrets cannot be encrypted without a key."
            " Set WORKFLOW_SECRET_KEYS and restart."
        )
    return str(first)


def has_key(key_id: str) -> bool:
    return key_id in settings.WORKFLOW_SECRET_KEYS


def encrypt(value: str, *, tenant_id: uuid.UUID, name: str) -> tuple[str, bytes]:
    """Encrypt a value with the first key. Return the id of the key and the ciphertext.

    Errors: KeyMissing if no key is set.
    """
    key_id = first_key_id()
    nonce = secrets.token_bytes(NONCE_BYTES)
    cipher = AESGCM(settings.WORKFLOW_SECRET_KEYS[key_id])
    return key_id, FORM + nonce + cipher.encrypt(nonce, value.encode(), _associated(key_id, tenant_id, name))


def decrypt(ciphertext: bytes, *, key_id: str, tenant_id: uuid.UUID, name: str) -> str:
    """Return the decrypted value of a secret.

    Errors: KeyMissing if this process does not have the key; DecryptionFailed if the row was changed or copied.
    """
    key = settings.WORKFLOW_SECRET_KEYS.get(key_id)
    if key is None:
        raise KeyMissing(
            f"The secret {name} is encrypted with the key {key_id!r}, but this process does not have that key."
            " Add the key to WORKFLOW_SECRET_KEYS, after the first key, and restart. Or save the secret again."
        )
    start = len(FORM) + NONCE_BYTES
    associated = _associated(key_id, tenant_id, name)
    try:
        value = AESGCM(key).decrypt(ciphertext[len(FORM) : start], ciphertext[start:], associated)
    except (InvalidTag, ValueError) as error:  # ValueError: the value is shorter than a nonce
        raise DecryptionFailed(
            f"The secret {name} cannot be decrypted with the key {key_id!r}. Either its row was changed or copied, or"
            " WORKFLOW_SECRET_KEYS has another key under this id. Save the secret again."
        ) from error
    return value.decode()


def _associated(key_id: str, tenant_id: uuid.UUID, name: str) -> bytes:
    return b"\0".join([b"pointsman-secret", FORM, key_id.encode(), tenant_id.bytes, name.encode()])
