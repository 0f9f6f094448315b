"""Navigation of the screens: sections, items and counts."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from workflows.statuses import Role

# Address of the list of a model that has a count, by the key of `navigation_counts`.
INCIDENTS, TASKS, DEAD_LETTERS = "incident", "humantask", "eventdelivery"
# With more items, the section "Administer" is folded, so that a screen of 900 px shows the whole navigation.
MOST_UNFOLDED = 3


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sections that the role of the member may open.

    Shapes: `{title, items, is_folded}` for each section. A folded section shows its items after a click.
    `{title, icon, link, count, is_hot, is_home}` for each item, and `active` if the address does not say it.
    """
    counts = _counts(request)
    operate = [
        {**_item("Dashboard", "dash", "index"), "is_home": True},
        _item("Runs", "runs", "workflows_run_changelist"),
        _item("Incidents", "inc", "workflows_incident_changelist", counts.get(INCIDENTS, ""), is_hot=True),
        _item("Tasks", "task", "workflows_humantask_changelist", counts.get(TASKS, "")),
        _item("Next", "next", "next"),
        _item("Events", "event", "workflows_event_changelist"),
        _item("Dead letters", "dead", "workflows_eventdelivery_changelist", counts.get(DEAD_LETTERS, ""), is_hot=True),
        _item("Bulk jobs", "bulk", "workflows_bulkjob_changelist"),
        _item("My notifications", "bell", "workflows_notification_changelist"),
    ]
    # The address of the catalogue is below that of the connectors, and the lab is below the definitions.
    is_catalogue = "/connector/catalogue/" in request.path
    definitions = _item("Definitions", "def", "workflows_definition_changelist")
    is_lab = "/definition/expression-lab/" in request.path
    author = [
        {**definitions, "active": False} if is_lab else definitions,
        _item("Schedules", "clock", "workflows_schedule_changelist"),
        _item("Holiday calendars", "calendar", "workflows_holidaycalendar_changelist"),
        _item("Event catalogue", "book", "workflows_eventtype_changelist"),
        _item("Schemas", "brace", "workflows_payloadschema_changelist"),
        _item("Actions", "act", "workflows_connector_catalogue"),
        _item("Expression lab", "lab", "workflows_definition_lab"),
    ]
    audit = [
        _item("Command ledger", "ledger", "workflows_command_changelist"),
        _item("What is supported", "check", "support"),
    ]
    connectors = _item("Connectors", "plug", "workflows_connector_changelist")
    administer = [{**connectors, "active": False} if is_catalogue else connectors, *_for_administrators(request)]
    titles = ("Operate", "Author", "Audit", "Administer")
    return [
        {"title": title, "items": items, "is_folded": title == "Administer" and len(items) > MOST_UNFOLDED}
        for title, items in zip(titles, (operate, author, audit, administer), strict=True)
    ]


def _item(title: str, icon: str, name: str, count: str = "", *, is_hot: bool = False) -> dict[str, Any]:
    link = reverse(f"admin:{name}")
    return {"title": title, "icon": icon, "link": link, "count": count, "is_hot": is_hot, "is_home": False}


def _counts(request: HttpRequest) -> dict[str, str]:
    """Return the counts as text. A count of zero is left out."""
    from workflows.selectors.navigation import capped, navigation_counts  # the models are not loaded yet

    actor = getattr(request, "actor", None)
    # The dashboard counts them together with its own numbers.
    found = getattr(request, "navigation_counts", None)
    if found is None:
        found = navigation_counts(tenant_id=actor.tenant_id) if actor else {}
    return {name: capped(count) for name, count in found.items() if count}


def _for_administrators(request: HttpRequest) -> list[dict[str, Any]]:
    actor = getattr(request, "actor", None)
    if actor is None or not actor.has_role(Role.ADMIN):
        return []
    tenant = reverse("admin:workflows_tenant_change", args=[actor.tenant_id])
    own = {**_item("Tenant", "house", "workflows_tenant_changelist"), "link": tenant}
    every = _item("All tenants", "cols", "workflows_tenant_changelist")
    is_own = request.path == tenant  # its address is below that of all tenants
    portal = [{**every, "active": False} if is_own else every, _item("Accounts", "people", "auth_user_changelist")]
    return [
        *(portal if actor.is_superuser else []),
        {**own, "active": True} if is_own else own,
        _item("Members", "people", "workflows_tenantmembership_changelist"),
        _item("Invitations", "send", "workflows_invitation_changelist"),
        _item("Tokens", "key", "workflows_apitoken_changelist"),
        _item("Identity providers", "ext", "workflows_identityprovider_changelist"),
        _item("Sign-in rules", "shield", "sign_in_rules"),
        _item("Sign-ins", "enter", "workflows_signinrecord_changelist"),
        _item("Secrets", "lock", "workflows_secret_changelist"),
        _item("Redaction", "hide", "workflows_secret_redaction"),
        _item("Retention", "archive", "retention"),
    ]
