"""Expected access to the screens."""

import json
from collections.abc import Iterator
from typing import Any

from ingress.admin.event_batch import packed
from tests.support.access import NOBODY, PUBLIC, SUPERUSER, Cell
from tests.support.access_administration import account_cells, administration_cells
from tests.support.access_api import INCIDENT_BODIES, bundle_of
from tests.support.access_cells import (
    ADMIN,
    AUTHOR,
    FORBIDDEN,
    GONE,
    OK,
    OPERATOR,
    REASON,
    REFUSED,
    VIEWER,
    action_cell,
    get_cell,
    page_cells,
    post_cell,
    readable_pages,
)


def screen_cells() -> Iterator[Cell]:
    yield from _site_cells()
    for model in ("run", "event", "command", "notification", "humantask", "eventdelivery", "bulkjob", "incident"):
        yield from _pages(model)
    for model in ("eventtype", "payloadschema"):
        yield from _author_pages(model)
    schedule = {"name": "NEW", "cron": "0 0 1 1 *", "time_zone": "UTC", "payload": "{}", "overlap": "skip"}
    yield from _author_pages("schedule", {**schedule, "catch_up_seconds": "60"})
    yield from _author_pages("holidaycalendar", {"name": "NEW", "weekend": ["7"]})
    yield from _schedule_steps()
    yield from administration_cells()
    yield from _run_screens()
    yield from _event_screens()
    yield from _definition_screens()
    yield from _incident_screens()
    yield from _other_screens()
    yield from _pages("user", app="auth", reads=SUPERUSER, edits=SUPERUSER)
    for name in ("password_change", "reset_factors"):
        yield from page_cells(f"admin:auth_user_{name}", SUPERUSER, "user", foreign_statuses=None)


def _site_cells() -> Iterator[Cell]:
    for name in ("healthz", "readyz", "metrics", "home", "invitation"):
        for method in ("GET", "POST"):
            statuses = frozenset({200, 503}) if name == "readyz" else OK  # 503 while no Temporal worker polls
            yield Cell(
                name,
                method,
                PUBLIC,
                path=f"/{name if name != 'home' else ''}",
                statuses=statuses,
                writes=False,
                foreign_statuses=None,
            )
    yield from page_cells("admin:index", VIEWER)
    yield from page_cells("admin:health", VIEWER)
    yield get_cell("compare", VIEWER)
    yield post_cell("compare", OPERATOR, is_recorded=True)
    yield from page_cells("admin:next", VIEWER)
    yield from page_cells("admin:support", VIEWER)
    yield from page_cells("admin:search", VIEWER, query=lambda ids: {"s": "run"})
    yield from page_cells("admin:app_list", VIEWER, "app", foreign_statuses=None)
    yield from page_cells("admin:login", PUBLIC, statuses=OK | FORBIDDEN)  # 403 for an account without a tenant
    yield get_cell("choose_tenant", NOBODY, denied_statuses=REFUSED)
    yield post_cell("choose_tenant", VIEWER, body=lambda ids: {"tenant": ids["tenant"]}, foreign_statuses=OK)
    yield get_cell("logout", NOBODY, denied_statuses=REFUSED)
    yield post_cell("logout", VIEWER)
    yield from account_cells()
    yield get_cell("jsi18n")
    yield post_cell("jsi18n", NOBODY, denied_statuses=REFUSED)
    source = {"app_label": "workflows", "model_name": "command", "field_name": "run"}
    yield get_cell(
        "autocomplete",
        VIEWER,
        query=lambda ids: {**source, "term": ids["correlation_key"]},
        foreign_statuses=frozenset({200}),
    )
    yield post_cell("autocomplete", NOBODY, denied_statuses=REFUSED)
    missing = {"statuses": GONE, "foreign_statuses": GONE}
    yield from page_cells("admin:view_on_site", VIEWER, "content_type", "run", **missing)
    yield from page_cells("admin/(?P<url>.*)$", VIEWER, path="/admin/no-such-page/", **missing)


def _pages(model: str, *, app: str = "workflows", reads: str = VIEWER, edits: str = NOBODY) -> Iterator[Cell]:
    """Yield the cells of the admin's standard pages of a model. No role can edit most models."""
    name, row = f"{app}_{model}", _ROWS.get(model, model)
    foreign = None if app == "auth" else GONE
    shows = app != "auth"
    denied = (
        {"denied_statuses": REFUSED, "foreign_statuses": frozenset({403, 404, 405}) if foreign else None}
        if edits == NOBODY
        else {"foreign_statuses": foreign}
    )
    yield get_cell(f"{name}_changelist", reads, shows=shows)
    if model in ("run", "eventdelivery"):  # a POST without an action shows the list again
        yield post_cell(f"{name}_changelist", reads, writes=False)
        yield action_cell(model, "delete_selected", NOBODY, row, FORBIDDEN)
    else:
        yield post_cell(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield get_cell(f"{name}_change", reads, row, shows=shows, foreign_statuses=foreign)
    yield get_cell(f"{name}_history", reads, row, foreign_statuses=foreign)
    yield post_cell(f"{name}_history", reads, row, foreign_statuses=foreign, writes=False)
    yield from page_cells(f"admin/{app}/{model}/<path:object_id>/", VIEWER, row, foreign_statuses=foreign)
    yield from _edit_pages(name, row, edits, **denied)


def _edit_pages(name: str, row: str, edits: str, **more: Any) -> Iterator[Cell]:
    yield get_cell(f"{name}_add", edits, denied_statuses=REFUSED)
    yield post_cell(f"{name}_add", edits, denied_statuses=REFUSED)
    is_kept = name == "auth_user"  # accounts are never deleted
    deletes, denied = (NOBODY, {**more, "denied_statuses": REFUSED}) if is_kept else (edits, more)
    yield get_cell(f"{name}_delete", deletes, row, **denied)
    yield post_cell(f"{name}_delete", deletes, row, body=lambda ids: {"post": "yes"}, **denied)
    if name != "workflows_humantask":
        yield post_cell(f"{name}_change", edits, row, **more)


_ROWS = {
    "humantask": "task",
    "eventdelivery": "delivery",
    "bulkjob": "bulk_job",
    "payloadschema": "schema",
    "eventtype": "event_type",
    "schedule": "schedule",
    "holidaycalendar": "calendar",
}


_NEW_ROW: dict[str, Any] = {"name": "NEW", "ref": "new.v1", "schema": "{}", "is_active": "on"}


def _author_pages(model: str, body: dict[str, Any] = _NEW_ROW) -> Iterator[Cell]:
    name, row = f"workflows_{model}", _ROWS[model]
    yield from readable_pages(model, row)
    yield get_cell(f"{name}_add", AUTHOR)
    yield get_cell(f"{name}_delete", VIEWER, row)
    yield post_cell(
        f"{name}_add", AUTHOR, body=lambda ids: {**body, "definition": ids["definition_key"]}, is_recorded=True
    )
    yield post_cell(f"{name}_change", AUTHOR, row, body=lambda ids: body, is_recorded=True)
    yield post_cell(f"{name}_delete", AUTHOR, row, is_recorded=True)


def _schedule_steps() -> Iterator[Cell]:
    past = {"start": "2026-01-01 00:00", "end": "2026-01-02 00:00", "overlap": "skip", "confirmed": "yes", **REASON}
    steps = {"pause": (AUTHOR, REASON), "resume": (AUTHOR, REASON), "trigger": (OPERATOR, REASON)}
    for name, (needs, body) in {**steps, "backfill": (OPERATOR, past)}.items():
        yield get_cell(f"workflows_schedule_{name}", VIEWER, "schedule")
        yield post_cell(
            f"workflows_schedule_{name}", needs, "schedule", body=lambda ids, body=body: body, is_recorded=True
        )


def _run_screens() -> Iterator[Cell]:
    for name, needs in (("cancel", OPERATOR), ("replay", OPERATOR), ("terminate", ADMIN), ("repair", OPERATOR)):
        yield get_cell(f"workflows_run_{name}", VIEWER, "run")
        body = {**REASON, "payload": "{}", "confirmed": "yes"}
        yield post_cell(f"workflows_run_{name}", needs, "run", body=lambda ids, body=body: body, is_recorded=True)
    for name in ("hold", "release"):
        yield get_cell(f"workflows_run_{name}", ADMIN, "run")
        yield post_cell(f"workflows_run_{name}", ADMIN, "run", is_recorded=True)
    yield get_cell("workflows_run_verify", VIEWER, "run")
    yield post_cell("workflows_run_verify", VIEWER, "run")  # compares, like "api:run-verify"
    for kind in ("csv", "json"):
        yield get_cell(f"workflows_run_export_{kind}", VIEWER, shows=True)
        yield post_cell(f"workflows_run_export_{kind}", NOBODY, denied_statuses=REFUSED)
    saved = {"name": "A view", "query": ""}
    yield get_cell("workflows_run_save_view", VIEWER)
    yield post_cell("workflows_run_save_view", VIEWER, body=lambda ids: saved, is_recorded=True)
    yield get_cell("workflows_run_delete_view", VIEWER, "saved_view")
    yield post_cell("workflows_run_delete_view", VIEWER, "saved_view", is_recorded=True)
    for action, needs in (("cancel_runs", OPERATOR), ("replay_runs", OPERATOR), ("terminate_runs", ADMIN)):
        yield action_cell("run", action, needs, "run")
    for step in ("start", "pause", "resume", "stop", "retry-failures"):
        yield get_cell(f"workflows_bulkjob_{step}", VIEWER, "bulk_job")
        yield post_cell(f"workflows_bulkjob_{step}", OPERATOR, "bulk_job", is_recorded=True)
        yield post_cell(f"workflows_bulkjob_{step}", ADMIN, "terminate_job", is_recorded=True, variant="terminate")
    yield get_cell("workflows_bulkjob_again", VIEWER, "replay_job")
    yield post_cell("workflows_bulkjob_again", OPERATOR, "replay_job", is_recorded=True)


def _event_screens() -> Iterator[Cell]:
    yield get_cell("workflows_event_send", VIEWER)
    sent = {"event_type": "E", "payload": "{}"}
    yield post_cell("workflows_event_send", OPERATOR, body=lambda ids: sent, is_recorded=True)
    yield get_cell("workflows_event_batch", VIEWER)
    content = packed(b'{"event_type": "E", "payload": {}}')
    yield post_cell(
        "workflows_event_batch", OPERATOR, body=lambda ids: {"content": content, "do": "send"}, is_recorded=True
    )
    yield get_cell("workflows_event_what_if", VIEWER)
    yield get_cell(
        "workflows_event_what_if",
        VIEWER,
        query=lambda ids: {"event": ids["event"]},
        variant="for an event",
        foreign_statuses=GONE,
        shows=True,
    )
    request = {"event": '{"event_type": "E", "payload": {}}'}
    yield post_cell("workflows_event_what_if", OPERATOR, body=lambda ids: request, writes=False, is_alone=True)
    yield get_cell("workflows_event_what_if_correlation", VIEWER)
    paths = {"paths": '{"*": "ticketId"}', "last": "10"}
    yield post_cell(
        "workflows_event_what_if_correlation", OPERATOR, body=lambda ids: paths, writes=False, is_alone=True
    )
    for name in ("redeliver", "discard"):
        yield get_cell(f"workflows_eventdelivery_{name}", VIEWER, "delivery", is_alone=True, shows=True)
        yield post_cell(f"workflows_eventdelivery_{name}", OPERATOR, "delivery", is_recorded=True)
        yield action_cell("eventdelivery", f"{name}_many", OPERATOR, "delivery", confirmed="yes", **REASON)


def _definition_screens() -> Iterator[Cell]:
    name, row = "workflows_definition", "definition"
    yield get_cell(f"{name}_changelist", shows=True)
    yield post_cell(f"{name}_changelist", VIEWER, writes=False)
    yield action_cell("definition", "delete_selected", NOBODY, row, FORBIDDEN)
    yield action_cell("definition", "export_bundle", VIEWER, row)
    yield get_cell(f"{name}_change", VIEWER, row, shows=True)
    yield post_cell(f"{name}_change", NOBODY, row, denied_statuses=REFUSED, foreign_statuses=frozenset({403, 404, 405}))
    yield get_cell(f"{name}_history", VIEWER, row)
    yield post_cell(f"{name}_history", VIEWER, row, writes=False)
    yield from page_cells("admin/workflows/definition/<path:object_id>/", VIEWER, row)
    yield get_cell(f"{name}_add", AUTHOR)
    yield post_cell(f"{name}_add", AUTHOR, body=lambda ids: {"key": "from-page"}, is_recorded=True)
    bodies: dict[str, dict[str, Any]] = {
        "draft": {"draft_version": "0", "document": "{}"},
        "publish": {"draft_version": "0"},
        "settings": {"owner": "o"},
        "resume": {**REASON, "held": "skip"},
        **dict.fromkeys(("pause", "archive", "unarchive", "delete"), REASON),
    }
    for view, body in bodies.items():
        yield get_cell(f"{name}_{view}", AUTHOR, row)
        yield post_cell(f"{name}_{view}", AUTHOR, row, body=lambda ids, body=body: body, is_recorded=True)
    yield get_cell(f"{name}_rollback", AUTHOR, row, "version")
    yield post_cell(f"{name}_rollback", AUTHOR, row, "version", is_recorded=True)


def _incident_screens() -> Iterator[Cell]:
    for name, body in {**INCIDENT_BODIES, "note": {"text": "NEW"}}.items():
        yield get_cell(f"workflows_incident_{name}", OPERATOR, "incident")
        yield post_cell(
            f"workflows_incident_{name}", OPERATOR, "incident", body=lambda ids, body=body: body, is_recorded=True
        )
    for name in ("separate", "reopen"):
        yield get_cell(f"workflows_incident_{name}", OPERATOR, "incident")
        yield post_cell(
            f"workflows_incident_{name}", OPERATOR, "closed_incident", body=lambda ids: {}, is_recorded=True
        )
    for name in ("take", "replay"):
        yield get_cell(
            f"workflows_incident_{name}", NOBODY, "incident", denied_statuses=REFUSED, foreign_statuses=REFUSED
        )
        yield post_cell(f"workflows_incident_{name}", OPERATOR, "incident", is_recorded=True)


def _other_screens() -> Iterator[Cell]:
    yield get_cell("workflows_definition_import", AUTHOR)
    yield post_cell(
        "workflows_definition_import", AUTHOR, is_recorded=True,
        body=lambda ids: {"text": json.dumps(bundle_of(ids)), "step": "import"},
    )  # fmt: skip
    yield get_cell("workflows_definition_lab", VIEWER)
    lab = {"expression": "1"}
    yield post_cell(
        "workflows_definition_lab", OPERATOR, body=lambda ids: {**lab, "event": ids["event"]}, writes=False,
        is_alone=True,
    )  # fmt: skip
    yield get_cell("workflows_definition_choose", VIEWER)
    yield post_cell("workflows_definition_choose", NOBODY, denied_statuses=REFUSED)
    yield get_cell("workflows_definition_start", VIEWER, "definition")
    yield post_cell(
        "workflows_definition_start", OPERATOR, "definition", body=lambda ids: {"payload": "{}"}, is_recorded=True
    )
    yield post_cell(
        "workflows_humantask_change", OPERATOR, "task", body=lambda ids: {"response": "{}"}, is_recorded=True
    )
    for name in ("claim", "release"):
        yield get_cell(f"workflows_humantask_{name}", VIEWER, "task")
        yield post_cell(f"workflows_humantask_{name}", OPERATOR, "task", is_recorded=True)
    for name in ("assign", "draft"):
        yield get_cell(f"workflows_humantask_{name}", VIEWER, "task")
    yield post_cell(
        "workflows_humantask_assign", OPERATOR, "task", body=lambda ids: {"username": ids["member"]}, is_recorded=True
    )
    yield post_cell("workflows_humantask_draft", OPERATOR, "task", body=lambda ids: {"response": "{}"})
