"""Tenants (docs/reference/administration.md#tenants). Each change has a row in the command ledger of the tenant.

Superusers and the command line create, rename, close and open tenants and set their limits. Administrators of a tenant
rename it.
"""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

from django.db import IntegrityError, transaction

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid, NotFound, PermissionRefused
from workflows.ledger import command_open, command_refuse, commands_finish_in_transaction, target_name
from workflows.models import Command, Tenant
from workflows.models.fields import new_id
from workflows.services.idempotency import keyed_command_transaction
from workflows.statuses import CommandAction, CommandState, Role
from workflows.tenancy import tenant_scope
from workflows.tenant_starts import held_starts_release

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_SLUG_LENGTH, MAX_NAME_LENGTH = 63, 200
MOST = {"events_per_second": 1_000_000, "open_runs": 100_000_000, "stored_bytes": 2**60}


@dataclass(frozen=True)
class TenantLimits:
    """Limits of a tenant. None: no limit. Units: events per second, open runs, bytes."""

    events_per_second: int | None = None
    open_runs: int | None = None
    stored_bytes: int | None = None

    def as_json(self) -> dict[str, int | None]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def limits_of(tenant: Tenant) -> TenantLimits:
    return TenantLimits(**{name: getattr(tenant, f"{name}_limit") for name in MOST})


def of_tenant(actor: Actor, tenant_id: uuid.UUID) -> Actor:
    """Return a superuser as the administrator of a tenant. Any other actor stays in its own tenant."""
    if not actor.is_superuser:
        return actor
    return replace(actor, tenant_id=tenant_id, role=Role.ADMIN)


def tenant_create(*, actor: Actor, slug: str, name: str) -> Tenant:
    """Create a tenant. The first row of its command ledger records who did it.

    Errors: PermissionRefused, InputInvalid; Conflict TENANT_EXISTS if the slug is taken.
    """
    actor.require_superuser(to="create tenants")
    if not SLUG.fullmatch(slug) or len(slug) > MAX_SLUG_LENGTH:
        raise InputInvalid(
            f"{slug!r} is not a slug. Use at most {MAX_SLUG_LENGTH} small letters, digits and single hyphens, for"
            " example north-desk"
        )
    tenant = Tenant(id=new_id(), slug=slug, name=_checked_name(name))
    with tenant_scope(tenant.id):
        try:
            with transaction.atomic():
                tenant.save(force_insert=True)
                command = command_open(
                    actor=of_tenant(actor, tenant.id), action=CommandAction.CREATE_TENANT, target_type="tenant",
                    target_id=slug, payload={"name": tenant.name},
                )  # fmt: skip
                commands_finish_in_transaction([command], CommandState.OBSERVED)
        except IntegrityError as error:
            raise Conflict(
                f"a tenant with the slug {slug} exists; choose another slug", code="TENANT_EXISTS"
            ) from error
    return tenant


def tenant_find(*, actor: Actor, slug: str) -> Tenant:
    """Return a tenant. An actor who is no superuser finds only the own tenant. Errors: NotFound TENANT_NOT_FOUND."""
    rows = Tenant.objects.filter(slug=target_name(slug))
    tenant = (rows if actor.is_superuser else rows.filter(id=actor.tenant_id)).first()
    if tenant is None:
        raise NotFound(f"there is no tenant {slug[:100]!r}", code="TENANT_NOT_FOUND")
    return tenant


def require_tenant_role(*, actor: Actor, slug: str = "", action: CommandAction) -> None:
    """Check that the actor may change this tenant or, without a slug, the portal.

    Call it before errors in the request are reported.

    Errors: PermissionRefused, which is recorded in the ledger of the actor's tenant; NotFound.
    """
    if slug:
        tenant_find(actor=actor, slug=slug)
    if actor.is_superuser or (slug and actor.has_role(Role.ADMIN)):
        return
    command = command_open(actor=actor, action=action, target_type="tenant", target_id=target_name(slug))
    try:
        actor.require(Role.ADMIN, to="change tenants")
        actor.require_superuser(to="change the portal")
    except PermissionRefused as error:
        raise command_refuse(command, error) from error


def require_tenant_admin(actor: Actor, *, to: str) -> None:
    """Errors: PermissionRefused for an actor who is neither an administrator nor a superuser."""
    if not actor.is_superuser:
        actor.require(Role.ADMIN, to=to)


def tenant_edit(
    *,
    actor: Actor,
    slug: str,
    name: str | None = None,
    is_active: bool | None = None,
    limits: TenantLimits | None = None,
    reason: str = "",
    idempotency_key: str = "",
) -> Tenant:
    """Rename, close or open a tenant, or set its limits. None: no change.

    Closed: no person can choose the tenant, and its tokens, events and new starts are refused. Open runs go on. Starts
    of stored events are held, and begin when the tenant is opened.

    Errors: PermissionRefused, NotFound, InputInvalid; CommandRepeated.
    """
    tenant_id = tenant_find(actor=actor, slug=slug).id
    given = {"name": name, "isActive": is_active, "limits": limits and limits.as_json()}
    payload = {key: value for key, value in given.items() if value is not None}
    with tenant_command(actor, tenant_id, slug, payload=payload, reason=reason, key=idempotency_key) as command:
        require_tenant_admin(actor, to="change the tenant")
        if is_active is not None or limits is not None:
            actor.require_superuser(to="close and open tenants and set limits")
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=tenant_id)
        before = {"name": tenant.name, "isActive": tenant.is_active, "limits": limits_of(tenant).as_json()}
        if name is not None:
            tenant.name = _checked_name(name)
        if is_active is not None:
            tenant.is_active = is_active
        if limits is not None:
            _set_limits(tenant, limits)
        tenant.save(update_fields=["name", "is_active", *(f"{part}_limit" for part in MOST)])
        command.details = {"before": {key: before[key] for key in payload}}
        if is_active or limits is not None:
            held_starts_release(tenant_id)
    return tenant


def _set_limits(tenant: Tenant, limits: TenantLimits) -> None:
    """Errors: InputInvalid TENANT_LIMIT_INVALID."""
    for name, value in limits.as_json().items():
        if value is not None and not 1 <= value <= MOST[name]:
            raise InputInvalid(
                f"the limit {name} must be from 1 to {MOST[name]:,}, or have no value", code="TENANT_LIMIT_INVALID"
            )
        setattr(tenant, f"{name}_limit", value)


def _checked_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        raise InputInvalid(f"the name of a tenant has 1 to {MAX_NAME_LENGTH} characters")
    return name.strip()


@contextmanager
def tenant_command(
    actor: Actor,
    tenant_id: uuid.UUID,
    slug: str,
    *,
    action: CommandAction = CommandAction.EDIT_TENANT,
    payload: Any = None,
    reason: str = "",
    key: str = "",
) -> Iterator[Command]:
    """Record a change in the ledger of the tenant that changes."""
    with (
        tenant_scope(tenant_id),
        keyed_command_transaction(
            actor=of_tenant(actor, tenant_id),
            action=action,
            target_type="tenant",
            target_id=target_name(slug),
            reason=reason,
            payload=payload,
            idempotency_key=key,
        ) as command,
    ):
        yield command
