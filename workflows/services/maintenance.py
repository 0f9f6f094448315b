"""Maintenance of a tenant or of the whole portal (docs/reference/administration.md#maintenance).

While it lasts, every page shows its reason, and no new run starts. Running work goes on. Its end releases the held
starts.
"""

from collections.abc import Iterable

from django.utils import timezone

from workflows.actors import Actor
from workflows.errors import Conflict, InputInvalid
from workflows.models import PortalMaintenance, Tenant
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.tenants import require_tenant_admin, tenant_command, tenant_find
from workflows.statuses import CommandAction
from workflows.tenancy import tenant_scope
from workflows.tenant_starts import held_starts_release

MAX_REASON_LENGTH = 500
PORTAL = "portal"


def tenant_maintenance_start(*, actor: Actor, slug: str, reason: str, idempotency_key: str = "") -> Tenant:
    """Hold the new starts of a tenant. Its administrators and superusers may do this.

    Errors: PermissionRefused, NotFound; InputInvalid REASON_REQUIRED; Conflict MAINTENANCE_STATE if it lasts already.
    """
    tenant_id = tenant_find(actor=actor, slug=slug).id
    action = CommandAction.START_MAINTENANCE
    with tenant_command(actor, tenant_id, slug, action=action, reason=reason, key=idempotency_key):
        require_tenant_admin(actor, to="start maintenance")
        _require_reason(reason)
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=tenant_id)
        if tenant.maintenance_since is not None:
            raise _state(f"the tenant is in maintenance already: {tenant.maintenance_reason}")
        tenant.maintenance_since, tenant.maintenance_reason = timezone.now(), reason.strip()
        tenant.maintenance_by_name = actor.name
        tenant.save(update_fields=["maintenance_since", "maintenance_reason", "maintenance_by_name"])
    return tenant


def tenant_maintenance_end(*, actor: Actor, slug: str, reason: str = "", idempotency_key: str = "") -> Tenant:
    """Release the held starts of a tenant. They start in the order in which their events were received.

    Errors: PermissionRefused, NotFound; Conflict MAINTENANCE_STATE if there is no maintenance.
    """
    tenant_id = tenant_find(actor=actor, slug=slug).id
    action = CommandAction.END_MAINTENANCE
    with tenant_command(actor, tenant_id, slug, action=action, reason=reason, key=idempotency_key) as command:
        require_tenant_admin(actor, to="end maintenance")
        tenant = Tenant.objects.select_for_update(no_key=True).get(id=tenant_id)
        if tenant.maintenance_since is None:
            raise _state("the tenant is not in maintenance")
        command.details = {"since": tenant.maintenance_since.isoformat(), "was": tenant.maintenance_reason}
        tenant.maintenance_since, tenant.maintenance_reason, tenant.maintenance_by_name = None, "", ""
        tenant.save(update_fields=["maintenance_since", "maintenance_reason", "maintenance_by_name"])
        held_starts_release(tenant_id)
    return tenant


def portal_maintenance_start(*, actor: Actor, reason: str, idempotency_key: str = "") -> PortalMaintenance:
    """Hold the new starts of all tenants. The ledger row is in the actor's tenant.

    Errors: PermissionRefused; InputInvalid REASON_REQUIRED; Conflict MAINTENANCE_STATE if it lasts already.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.START_MAINTENANCE,
        target_type=PORTAL,
        target_id=PORTAL,
        reason=reason,
        idempotency_key=idempotency_key,
    ):
        actor.require_superuser(to="start maintenance of the portal")
        _require_reason(reason)
        row, is_new = PortalMaintenance.objects.get_or_create(
            id=1, defaults={"reason": reason.strip(), "by_name": actor.name}
        )
        if not is_new:
            raise _state(f"the portal is in maintenance already: {row.reason}")
    return row


def portal_maintenance_end(
    *, actor: Actor, tenants: Iterable[Tenant], reason: str = "", idempotency_key: str = ""
) -> None:
    """Release the held starts of all tenants, except of tenants in their own maintenance. `tenants`: all tenants.

    Errors: PermissionRefused; Conflict MAINTENANCE_STATE if there is no maintenance.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.END_MAINTENANCE,
        target_type=PORTAL,
        target_id=PORTAL,
        reason=reason,
        idempotency_key=idempotency_key,
    ) as command:
        actor.require_superuser(to="end maintenance of the portal")
        row = PortalMaintenance.objects.select_for_update().filter(id=1).first()
        if row is None:
            raise _state("the portal is not in maintenance")
        command.details = {"since": row.since.isoformat(), "was": row.reason}
        row.delete()
        for tenant in tenants:
            if tenant.is_active and tenant.maintenance_since is None:
                with tenant_scope(tenant.id):
                    held_starts_release(tenant.id)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise InputInvalid(
            "maintenance needs a reason, because every page shows it; send `reason`", code="REASON_REQUIRED"
        )
    if len(reason) > MAX_REASON_LENGTH:
        raise InputInvalid(f"the reason is longer than {MAX_REASON_LENGTH} characters; shorten it")


def _state(why: str) -> Conflict:
    return Conflict(f"{why}; nothing was changed", code="MAINTENANCE_STATE")
