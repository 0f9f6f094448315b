"""Addresses of the portal's pages with the rows of the story.

The pages come from the access table, so a new page is in every test of the screens without another entry.
"""

from dataclasses import dataclass
from typing import Any

from tests.support.access import Cell
from tests.support.access_cells import FORBIDDEN, REFUSED
from tests.support.access_table import CELLS
from tests.support.story.people import Desk
from workflows.models import (
    ApiToken,
    BulkJob,
    Command,
    Connector,
    Definition,
    Event,
    EventDelivery,
    EventType,
    HolidayCalendar,
    HumanTask,
    IdentityProvider,
    Incident,
    Invitation,
    Notification,
    PayloadSchema,
    Run,
    SavedView,
    Schedule,
    Secret,
    TenantMembership,
)
from workflows.statuses import Role

# GET addresses of the admin that are no pages: data for scripts, files, and steps that only redirect.
NOT_PAGES = {"admin:autocomplete", "admin:jsi18n", "admin:search", "admin:login", "admin:app_list"}


@dataclass(frozen=True)
class Place:
    """One page. `needs` is the lowest role that may open it."""

    name: str
    address: str
    needs: str


def story_ids(desk: Desk, member: str = "Maya") -> dict[str, str]:
    """Return the value of each address argument of the access table. `member` is a first name."""

    def first(model: Any, **fields: Any) -> str:
        return str(model.objects.filter(tenant=desk.tenant, **fields).order_by("id").values_list("id", flat=True)[0])

    return {
        "run": str(story_run(desk, "PAY-105").id),
        "event": first(Event, event_id="mail-8831"),
        "delivery": first(EventDelivery, status="dead"),
        "task": first(HumanTask, correlation_key="", run__correlation_key="REF-311"),
        "bulk_job": first(BulkJob),
        "replay_job": first(BulkJob),
        "incident": first(Incident, error_code="NOT_FOUND"),
        "command": first(Command),
        "notification": first(Notification, user=desk.users[member]),
        "definition": first(Definition, key="payment-capture"),
        "definition_key": "payment-capture",
        "version": "2",
        "schema": first(PayloadSchema),
        "event_type": first(EventType),
        "schedule": first(Schedule),
        "calendar": first(HolidayCalendar),
        "secret": first(Secret),
        "tenant": str(desk.tenant.id),
        "token": first(ApiToken),
        "invitation": first(Invitation),
        "identity_provider_row": first(IdentityProvider),
        "membership": first(TenantMembership, user=desk.users["Maya"]),
        "saved_view": first(SavedView, user=desk.users[member]),
        "connector": first(Connector),
        "connector_action": "bank.capture",
        "connector_version": "2",
    }


def story_run(desk: Desk, key: str) -> Run:
    """Return the first run with this key. A replay is a later run."""
    return Run.objects.filter(tenant=desk.tenant, correlation_key=key).order_by("created_at")[0]


def is_page(cell: Cell) -> bool:
    """Return True for a GET address of the admin that shows a page to at least one role of a tenant."""
    shows = cell.method == "GET" and cell.name.startswith("admin:") and cell.needs in set(Role)
    is_refused = cell.denied_statuses == REFUSED or cell.statuses in (FORBIDDEN, frozenset({404}))
    is_other = cell.name in NOT_PAGES or cell.name.endswith("_history") or "_export_" in cell.name
    return shows and not is_refused and not is_other


def story_places(desk: Desk, member: str) -> list[Place]:
    """Return every page. Errors: KeyError if a page has an argument for which the story has no row."""
    ids = story_ids(desk, member)
    cells = [cell for cell in CELLS.values() if is_page(cell)]
    return [Place(cell.label.removeprefix("GET admin:"), cell.address(ids), cell.needs) for cell in cells]
