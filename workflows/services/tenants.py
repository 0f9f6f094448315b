"""Tenants (docs/reference/administration.md#tenants-and-roles). Only superusers and the command line change them."""

import re

from django.db import transaction

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid
from workflows.ledger import command_open, command_transaction, commands_finish_in_transaction
from workflows.models import Tenant
from workflows.models.fields import new_id
from workflows.statuses import CommandAction, CommandSource, CommandState, Role

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
MAX_SLUG_LENGTH, MAX_NAME_LENGTH = 63, 200


def tenant_create(*, by: str, slug: str, name: str) -> Tenant:
    """Create a tenant. The first row of its command ledger records who did it. `by` is the name of the person.

    Errors: InputInvalid, Conflict if the slug is taken.
    """
    if not SLUG.fullmatch(slug) or len(slug) > MAX_SLUG_LENGTH:
        raise InputInvalid(
            f"{slug!r} is not a slug. Use at most {MAX_SLUG_LENGTH} small letters, digits and single hyphens, for"
            " example north-desk"
        )
    _require_name(name)
    with transaction.atomic():
        tenant, is_new = Tenant.objects.get_or_create(slug=slug, defaults={"id": new_id(), "name": name.strip()})
        if not is_new:
            raise Conflict(f"a tenant with the slug {slug} exists; choose another slug", code="TENANT_EXISTS")
        command = command_open(
            actor=_cli(tenant, by), action=CommandAction.CREATE_TENANT, target_type="tenant", target_id=slug,
            payload={"name": tenant.name},
        )  # fmt: skip
        commands_finish_in_transaction([command], CommandState.OBSERVED)
    return tenant


def tenant_set_active(*, by: str, tenant: Tenant, is_active: bool, reason: str = "") -> None:
    """Close a tenant, or open it again. Nobody can sign in to a closed tenant, and its tokens are refused.

    Its open runs go on, because Temporal executes them.
    """
    with command_transaction(
        actor=_cli(tenant, by),
        action=CommandAction.EDIT_TENANT,
        target_type="tenant",
        target_id=tenant.slug,
        reason=reason,
        payload={"isActive": is_active},
    ):
        tenant.is_active = is_active
        tenant.save(update_fields=["is_active"])


def _require_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_LENGTH:
        raise InputInvalid(f"the name of a tenant has 1 to {MAX_NAME_LENGTH} characters")


def _cli(tenant: Tenant, by: str) -> Actor:
    return Actor("system", "cli", by, tenant.id, Role.ADMIN, CommandSource.CLI)
