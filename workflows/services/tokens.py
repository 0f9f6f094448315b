"""API tokens (docs/reference/api.md#authentication): shown once, stored hashed."""

import hashlib
import secrets
import uuid
from datetime import datetime
from typing import Any

from workflows.models import ApiToken
from workflows.statuses import Role

PREFIX = "pm_"


def token_hash(token: str) -> str:
    """Tokens are 256 random bits, so a plain hash is as good as a slow one."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_issue(
    *,
    tenant_id: uuid.UUID,
    name: str,
    role: Role,
    created_by: Any = None,
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """The row, and the token itself, which nobody can read again."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token_store(
        token, tenant_id=tenant_id, name=name, role=role, created_by=created_by, expires_at=expires_at
    ), token


def token_store(token: str, *, tenant_id: uuid.UUID, name: str, role: Role, **more: Any) -> ApiToken:
    return ApiToken.objects.create(
        tenant_id=tenant_id, name=name, role=role, prefix=token[: len(PREFIX) + 6], token_hash=token_hash(token), **more
    )
