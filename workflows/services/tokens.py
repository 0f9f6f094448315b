"""API tokens (docs/reference/api.md#authentication). A token is shown once. The database stores only its hash.

Administrators create, rotate and revoke tokens. Each change has a row in the command ledger.
"""

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.models import ApiToken
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import membership_lock, require_role
from workflows.statuses import CommandAction, Role
from workflows.token_scopes import require_known_scopes

PREFIX = "pm_"
MAX_NAME_LENGTH = 200
# The old token of a rotation stays valid for at most this time.
MAX_OVERLAP = timedelta(days=30)
MAX_RATE_PER_MINUTE = 1_000_000
# Later times cannot be shown in each time zone, and a rotation cannot add a period to them.
LAST_YEAR = 8999


@dataclass(frozen=True)
class TokenFields:
    """Properties of a new token. `expires_at` None: the token does not expire. An empty `scopes`: the whole role."""

    name: str
    role: Role
    scopes: list[str] = field(default_factory=list)
    expires_at: datetime | None = None
    rate_limit_per_minute: int | None = None


def token_hash(token: str) -> str:
    """Return the hash of a token. The database stores this hash.

    A fast hash is enough, because a token has 256 random bits.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def token_issue(*, tenant_id: uuid.UUID, name: str, role: Role, **more: Any) -> tuple[ApiToken, str]:
    """Create a token without a ledger row. Return its row and the token itself, which cannot be read again later.

    Only `token_create`, `token_rotate` and programs that prepare data call this function.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    return token_store(token, tenant_id=tenant_id, name=name, role=role, **more), token


def token_store(token: str, *, tenant_id: uuid.UUID, name: str, role: Role, **more: Any) -> ApiToken:
    """Store the hash of a given token and return the row."""
    return ApiToken.objects.create(
        tenant_id=tenant_id, name=name, role=role, prefix=token[: len(PREFIX) + 6], token_hash=token_hash(token), **more
    )


def require_token_role(*, actor: Actor, action: CommandAction, token_id: uuid.UUID | None = None) -> None:
    """Check the role, and that the tenant has the token.

    Errors: PermissionRefused, which is recorded in the ledger; NotFound.
    """
    require_role(actor=actor, needs=Role.ADMIN, to="manage tokens", action=action, target_type="token")
    if token_id is not None and not ApiToken.objects.filter(tenant_id=actor.tenant_id, id=token_id).exists():
        raise _token_not_found(token_id)


def token_create(
    *, actor: Actor, fields: TokenFields, created_by_id: int | None = None, idempotency_key: str = ""
) -> tuple[ApiToken, str]:
    """Create a token. Return its row and the token itself, which is shown once.

    `created_by_id` is the account that sees the token. It must be a member or a superuser.

    Errors: PermissionRefused, InputInvalid. CommandRepeated for a repeat, because the token cannot be shown again.
    """
    payload = {
        "name": fields.name,
        "role": str(fields.role),
        "scopes": fields.scopes,
        "expiresAt": fields.expires_at and fields.expires_at.isoformat(),
        "rateLimitPerMinute": fields.rate_limit_per_minute,
    }
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.CREATE_TOKEN,
        target_type="token",
        target_id=fields.name[:MAX_NAME_LENGTH],
        payload=payload,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="create tokens")
        membership_lock(tenant_id=actor.tenant_id, account_id=created_by_id)
        _require_valid(fields)
        row, token = token_issue(
            tenant_id=actor.tenant_id,
            name=fields.name,
            role=fields.role,
            scopes=fields.scopes,
            expires_at=fields.expires_at,
            rate_limit_per_minute=fields.rate_limit_per_minute,
            created_by_id=created_by_id,
        )
        command.details = {"tokenId": str(row.id), "prefix": row.prefix}
    return row, token


def token_rotate(
    *,
    actor: Actor,
    token_id: uuid.UUID,
    overlap: timedelta,
    created_by_id: int | None = None,
    idempotency_key: str = "",
) -> tuple[ApiToken, str]:
    """Create a token with the same properties. The old token stays valid for `overlap`, but not beyond its own expiry.

    The new token has as much time until its expiry as the old one had when it was created. It belongs to the account
    that sees it: `created_by_id`, or the account of the old token. Each token is rotated at most once. Otherwise an old
    token that should have ended could give new ones.

    Errors: PermissionRefused, InputInvalid, NotFound; Conflict TOKEN_REVOKED, TOKEN_ROTATED or TOKEN_EXPIRED.
    CommandRepeated for a repeat.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.ROTATE_TOKEN,
        target_type="token",
        target_id=str(token_id),
        payload={"overlapSeconds": int(overlap.total_seconds())},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="rotate tokens")
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            raise InputInvalid(f"the overlap must be from 0 s to {MAX_OVERLAP.days} days")
        membership_lock(tenant_id=actor.tenant_id, account_id=created_by_id)
        old, now = _usable_token(actor, token_id), timezone.now()
        _require_first_rotation(old, now)
        row, token = token_issue(
            tenant_id=actor.tenant_id,
            name=old.name,
            role=Role(old.role),
            scopes=old.scopes,
            expires_at=old.expires_at and now + (old.expires_at - old.created_at),
            rate_limit_per_minute=old.rate_limit_per_minute,
            created_by_id=created_by_id or old.created_by_id,
        )
        old.expires_at = now + overlap if old.expires_at is None else min(old.expires_at, now + overlap)
        old.rotated_at = now
        old.save(update_fields=["expires_at", "rotated_at"])
        command.details = {"tokenId": str(row.id), "prefix": row.prefix, "oldExpiresAt": old.expires_at.isoformat()}
    return row, token


def token_revoke(*, actor: Actor, token_id: uuid.UUID, reason: str = "", idempotency_key: str = "") -> ApiToken:
    """Refuse all further requests with this token.

    Errors: PermissionRefused, NotFound, Conflict if the token was revoked before. CommandRepeated for a repeat.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.REVOKE_TOKEN,
        target_type="token",
        target_id=str(token_id),
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.ADMIN, to="revoke tokens")
        row = _usable_token(actor, token_id)
        row.revoked_at = timezone.now()
        row.save(update_fields=["revoked_at"])
        command.details = {"name": row.name, "prefix": row.prefix}
    return row


def _usable_token(actor: Actor, token_id: uuid.UUID) -> ApiToken:
    row = ApiToken.objects.select_for_update(no_key=True).filter(tenant_id=actor.tenant_id, id=token_id).first()
    if row is None:
        raise _token_not_found(token_id)
    if row.revoked_at is not None:
        raise Conflict(
            f"the token {row.name} was revoked at {row.revoked_at:%Y-%m-%d %H:%M:%S} UTC; create a new token",
            code="TOKEN_REVOKED",
        )
    return row


def _require_first_rotation(row: ApiToken, now: datetime) -> None:
    if row.rotated_at is not None:
        raise Conflict(
            f"the token {row.name} ({row.prefix}…) was rotated at {row.rotated_at:%Y-%m-%d %H:%M:%S} UTC; rotate the"
            " token that replaced it, or create a new token",
            code="TOKEN_ROTATED",
        )
    if row.expires_at is not None and row.expires_at <= now:
        raise Conflict(
            f"the token {row.name} expired at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC; create a new token",
            code="TOKEN_EXPIRED",
        )


def _token_not_found(token_id: uuid.UUID) -> NotFound:
    return NotFound(f"the tenant has no token {token_id}", code="TOKEN_NOT_FOUND")


def _require_valid(fields: TokenFields) -> None:
    """Errors: InputInvalid. The administrator must correct the property that the message names."""
    if not fields.name.strip() or len(fields.name) > MAX_NAME_LENGTH:
        raise InputInvalid(f"the name of a token has 1 to {MAX_NAME_LENGTH} characters; it says which program uses it")
    require_known_scopes(fields.scopes)
    if fields.expires_at is not None and fields.expires_at <= timezone.now():
        raise InputInvalid("the time of expiry is in the past; give a later time")
    if fields.expires_at is not None and fields.expires_at.year > LAST_YEAR:
        raise InputInvalid(f"the time of expiry is after the year {LAST_YEAR}; give an earlier time, or no time")
    limit = fields.rate_limit_per_minute
    if limit is not None and not 1 <= limit <= MAX_RATE_PER_MINUTE:
        raise InputInvalid(f"the rate limit must be from 1 to {MAX_RATE_PER_MINUTE:,} requests per minute")
