"""Chapter "incidents": the causes of the failed runs, each in another state."""

from datetime import timedelta

from tests.support.story.people import Desk
from workflows.models import BulkJob, Incident, IncidentCursor, IncidentNote
from workflows.services.incidents.grow import batch_grow
from workflows.statuses import IncidentState

# Number of the last incident before the story.
LAST_NUMBER = 114


def tell_incidents(desk: Desk) -> None:
    IncidentCursor.objects.create(tenant=desk.tenant, last_number=LAST_NUMBER)
    batch_grow(tenant_id=desk.tenant.id)
    found = Incident.objects.filter(tenant=desk.tenant)
    found.filter(error_code="LEDGER_CLOSED").update(
        state=IncidentState.REGRESSED, resolved_in=3, state_since=desk.at(139), state_reason="failed on version 4"
    )
    jonas = desk.users["Jonas"]
    found.filter(error_code="MAILBOX_UNAVAILABLE").update(
        state=IncidentState.OPEN, owner=jonas, owner_name=jonas.get_full_name(), state_since=desk.at(160)
    )
    found.filter(error_code="TIMEOUT").update(
        state=IncidentState.SNOOZED, snoozed_from=IncidentState.NEW, snoozed_until=desk.now + timedelta(minutes=113),
        snoozed_for=5, state_since=desk.at(200),
    )  # fmt: skip
    capture = found.get(error_code="NOT_FOUND")
    BulkJob.objects.filter(tenant=desk.tenant).update(incident=capture)
    IncidentNote.objects.create(
        tenant=desk.tenant, incident=capture, author_name="Ines Alvarez", created_at=desk.at(6),
        text="The bank has removed the path of version 2. Version 3 uses the old path again.",
    )  # fmt: skip
