"""Encryption of the seeds of second factors with WORKFLOW_SECRET_KEYS (docs/reference/sign-in.md#second-factors)."""

import base64
import uuid

from allauth.mfa.models import Authenticator

from workflows.secret_encryption import decrypt, encrypt, first_key_id

# Seeds belong to accounts, not to a tenant.
NO_TENANT = uuid.UUID(int=0)
NAME = "second-factor"
# Keys of `Authenticator.data` whose values django-allauth encrypts.
SEEDS = ("secret", "seed")


def seed_encrypt(text: str) -> str:
    """Return `KEY-ID:BASE64`. Errors: KeyMissing if no key is set."""
    key_id, sealed = encrypt(text, tenant_id=NO_TENANT, name=NAME)
    return f"{key_id}:{base64.b64encode(sealed).decode()}"


def seed_decrypt(text: str) -> str:
    """Errors: KeyMissing, DecryptionFailed. An operator must restore the encryption key."""
    key_id, _, sealed = text.partition(":")
    return decrypt(base64.b64decode(sealed), key_id=key_id, tenant_id=NO_TENANT, name=NAME)


def seeds_rotate(*, dry_run: bool = False) -> int:
    """Encrypt the seeds of all accounts with the first key. Return the number of changed rows.

    Errors: KeyMissing, DecryptionFailed. Rows that were changed before stay changed.
    """
    changed = 0
    first = f"{first_key_id()}:"
    for row in Authenticator.objects.exclude(type=Authenticator.Type.WEBAUTHN).order_by("pk"):
        old = {key: row.data[key] for key in SEEDS if key in row.data and not row.data[key].startswith(first)}
        if old and not dry_run:
            row.data.update({key: seed_encrypt(seed_decrypt(text)) for key, text in old.items()})
            row.save(update_fields=["data"])
        changed += bool(old)
    return changed
