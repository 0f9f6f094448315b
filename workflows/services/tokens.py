"""API tokens (docs/reference/api.md#authentication). A token is shown once. The database stores only its hash."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any

from workflows.models import ApiToken
from workflows.statuses import Role

PREFIX = "pm_"


def token_hash(token: str) -> str:
    """Return the hash of a token. The database stores this hash.

    A fast hash is enough, because a token has 256 random bits.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def token_issue(
    *,
    tenant_id: uuid.UUID,
    name: str,
    role: Role,
    created_by: Any = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create a token. Return its row and the token itself, which cannot be read again later."""
    token = PREFIX + secrets.token_urlsafe(32)
    row = token_store(token, tenant_id=tenant_id, name=name, role=role, created_by=created_by, expires_at=expires_at)
    return row, token


def token_store(token: str, *, tenant_id: uuid.UUID, name: str, role: Role, **more: Any) -> ApiToken:
    """Store the hash of a given token and return the row."""
    return ApiToken.objects.create(
        tenant_id=tenant_id, name=name, role=role, prefix=token[: len(PREFIX) + 6], token_hash=token_hash(token), **more
    )
