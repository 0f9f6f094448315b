"""The tenant of the story with its members, definitions, connectors, schemas and event types."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from tests.support.story import documents
from tests.support.story.telling import Telling
from workflows.actors import Actor
from workflows.engine.definition import canonical_text, definition_hash
from workflows.models import (
    Connector,
    Definition,
    DefinitionVersion,
    EventType,
    PayloadSchema,
    Tenant,
    TenantMembership,
)
from workflows.statuses import CommandSource, Role, TriggerType

SLUG = "northgate"
PASSWORD = "a long passphrase"
# First name, last name and role of each member. The user name is the first name in lower case.
MEMBERS = [
    ("Maya", "Lindqvist", Role.OPERATOR),
    ("Jonas", "Weber", Role.OPERATOR),
    ("Ines", "Alvarez", Role.AUTHOR),
    ("Tomas", "Reuter", Role.AUTHOR),
    ("Nora", "Falk", Role.ADMIN),
    ("Vera", "Holm", Role.VIEWER),
]


@dataclass
class Desk:
    """Data that the chapters of the story share. `now` is the moment from which all times count."""

    tenant: Tenant
    now: datetime
    users: dict[str, Any] = field(default_factory=dict)
    versions: dict[tuple[str, int], DefinitionVersion] = field(default_factory=dict)

    def at(self, minutes: float) -> datetime:
        """Return the moment this number of minutes ago. A negative number is a moment in the future."""
        return self.now - timedelta(minutes=minutes)

    def telling(self, key: str, version: int, *, minutes: float, payload: dict[str, Any]) -> Telling:
        return Telling(self.versions[key, version], at=self.at(minutes), payload=payload)

    def actor(self, first_name: str) -> Actor:
        user = self.users[first_name]
        role = next(role for name, _, role in MEMBERS if name == first_name)
        return Actor("user", str(user.pk), user.get_full_name(), self.tenant.id, role, CommandSource.ADMIN)


def found_desk(slug: str) -> Desk:
    """Create the tenant with everything that is older than the runs.

    User names belong to no tenant. Each tenant other than the first adds its slug to the names.
    """
    desk = Desk(Tenant.objects.create(slug=slug, name="Northgate desk"), timezone.now())
    suffix = "" if slug == SLUG else f"-{slug}"
    for first, last, role in MEMBERS:
        user = get_user_model().objects.create_user(
            f"{first.lower()}{suffix}",
            password=PASSWORD,
            first_name=first,
            last_name=last,
            email=f"{first.lower()}@northgate.example",
        )
        TenantMembership.objects.create(tenant=desk.tenant, user=user, role=role)
        desk.users[first] = user
    for action_id, version, spec in documents.CONNECTORS:
        Connector.objects.create(
            tenant=desk.tenant, action_id=action_id, version=version, label=spec["label"], spec=spec,
            created_by_name="Nora Falk",
        )  # fmt: skip
    for ref, schema in documents.SCHEMAS.items():
        PayloadSchema.objects.create(tenant=desk.tenant, ref=ref, schema=schema)
    for name, (paths, ref) in documents.EVENT_TYPES.items():
        EventType.objects.create(tenant=desk.tenant, name=name, correlation_paths=paths, payload_schema_ref=ref)
    _publish_all(desk)
    return desk


def _publish_all(desk: Desk) -> None:
    day = 24 * 60
    published: list[tuple[dict[str, Any], int, float, str, str]] = [
        (documents.payment_capture(1), 1, 22 * day, "Ines Alvarez", "First version"),
        (documents.payment_capture(2), 2, 287, "Ines Alvarez", "Use the new capture path of the bank"),
        (documents.payment_capture(3), 3, 4, "Tomas Reuter", "Use the old capture path again"),
        (documents.ticket_escalation(), 4, 12 * day, "Tomas Reuter", "Escalate from priority 3"),
        (documents.refund_approval(), 3, 9 * day, "Ines Alvarez", "Ask for the pay-out date"),
        (documents.refund_approval(), 4, 180, "Ines Alvarez", "Post to the new ledger"),
        (documents.notify_team(), 1, 30 * day, "Tomas Reuter", ""),
        (documents.invoice_dunning(), 6, 15 * day, "Tomas Reuter", "Second reminder"),
        (documents.invoice_dunning(), 7, 2 * day, "Tomas Reuter", "Shorter pause"),
        (documents.daily_settlement(), 5, 40 * day, "Ines Alvarez", "More attempts for the upload"),
        (documents.card_renewal(), 1, 20 * day, "Ines Alvarez", ""),
    ]
    for document, number, minutes, author, note in published:
        _publish(desk, document, number, at=desk.at(minutes), author=author, note=note)
    Definition.objects.filter(tenant=desk.tenant, key="card-renewal").update(
        is_paused=True, paused_reason="issuer test window", paused_at=desk.at(297), paused_by_name="Ines Alvarez"
    )
    owned = {"owner": "Payments team", "contact": "payments@northgate.example"}
    Definition.objects.filter(tenant=desk.tenant, key="payment-capture").update(
        **owned,
        runbook_url="https://wiki.northgate.example/payment-capture",
        search_paths=[
            {"path": "amount", "type": "money", "currency": "EUR"},
            {"path": "customer", "type": "text"},
        ],
    )


def _publish(desk: Desk, document: dict[str, Any], number: int, *, at: datetime, author: str, note: str) -> None:
    key, text = document["id"], canonical_text({**document, "version": number})
    definition, _ = Definition.objects.get_or_create(
        tenant=desk.tenant, key=key, defaults={"name": document["name"], "created_at": at}
    )
    trigger = document.get("trigger") or {}
    version = DefinitionVersion.objects.create(
        tenant=desk.tenant,
        definition=definition,
        version=number,
        canonical_text=text,
        definition_hash=definition_hash(text),
        trigger_type=trigger.get("type", TriggerType.MANUAL),
        trigger_event_name=trigger.get("eventName", ""),
        note=note,
        published_by_name=author,
        published_at=at,
    )
    definition.draft_text, definition.draft_version = text, number
    definition.publish(version, document)
    desk.versions[key, number] = version
