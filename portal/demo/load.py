"""Demo data: a tenant, one member for each role, a token, an event catalogue, and the definitions of a service desk."""

from pathlib import Path

from django.contrib.auth import get_user_model

from portal.demo.credentials import Credentials
from workflows.actors import Actor
from workflows.models import ApiToken, Definition, EventType, Tenant, TenantMembership
from workflows.services.bundle_check import ImportOptions
from workflows.services.bundle_import import bundle_import
from workflows.services.tokens import token_hash, token_store
from workflows.statuses import CommandSource, Role
from workflows.strict_json import read_json

TENANT = "demo"
TOKEN_ROLE = Role.AUTHOR
BUNDLES = Path(__file__).parent / "bundles"
# Paths of the correlation key in the payload of each event type.
CORRELATION_PATHS = {
    "TICKET_CREATED": ["payload.ticketId"],
    "TICKET_CUSTOMER_REPLIED": ["payload.ticketId"],
    "INVOICE_OVERDUE": ["invoiceId"],
    "INVOICE_PAID": ["invoiceId", "invoice.id"],
    "EMPLOYEE_HIRED": ["employeeId"],
    "ACCOUNT_CREATED": ["employeeId"],
    "LAPTOP_READY": ["employeeId"],
    "APPROVAL_REQUESTED": ["requestId"],
    "APPROVAL_DECIDED": ["requestId"],
    "WEBHOOK_RECEIVED": ["deliveryId"],
    "ACCESS_REQUESTED": ["requestId"],
}


def load_demo(credentials: Credentials) -> Tenant:
    """Create the demo data that is missing and return the tenant.

    Idempotency: existing rows are not changed, except for the role of the token. So a second `make run` keeps the data.
    """
    tenant, _ = Tenant.objects.get_or_create(slug=TENANT, defaults={"name": "Demo service desk"})
    for user in credentials.users:
        account, created = get_user_model().objects.get_or_create(username=user.username)
        if created or not account.check_password(user.password):
            account.set_password(user.password)
            account.save()
        TenantMembership.objects.get_or_create(tenant=tenant, user=account, defaults={"role": user.role})
    # Without the role author, the demo could not create definitions by API.
    if not ApiToken.objects.filter(token_hash=token_hash(credentials.token)).update(role=TOKEN_ROLE):
        token_store(credentials.token, tenant_id=tenant.id, name="demo", role=TOKEN_ROLE)
    for name, paths in CORRELATION_PATHS.items():
        EventType.objects.get_or_create(tenant=tenant, name=name, defaults={"correlation_paths": paths})
    actor = Actor("system", "demo", "demo", tenant.id, Role.ADMIN, CommandSource.CLI)
    for bundle in sorted(BUNDLES.glob("*.json")):
        # A user may have changed an existing definition, so it is not imported again.
        if not Definition.objects.filter(tenant=tenant, key=bundle.stem).exists():
            document = read_json(bundle.read_text(encoding="utf-8"))
            bundle_import(actor=actor, document=document, options=ImportOptions(publish=True))
    return tenant
