"""Expected access to the API."""

from collections.abc import Iterator
from typing import Any

from tests.support.access import PUBLIC, SUPERUSER, Cell, Ids
from tests.support.access_cells import ADMIN, AUTHOR, GONE, OPERATOR, REASON, VIEWER, read_cell, write_cell


def api_cells() -> Iterator[Cell]:
    lists = (
        "runs",
        "tasks",
        "bulk-jobs",
        "incidents",
        "commands",
        "definitions",
        "schemas",
        "events",
        "event-types",
        "deliveries",
        "schedules",
        "holiday-calendars",
    )
    for name in lists:
        yield read_cell(name)
    for name in ("run", "run-steps", "run-waits", "run-invocations", "run-logs"):
        yield read_cell(name, "run")
    yield read_cell("task", "task")
    yield read_cell("bulk-job", "bulk_job")
    yield read_cell("bulk-items", "bulk_job")
    yield read_cell("command", "command")
    yield read_cell("definition", "definition_key")
    yield read_cell("definition-versions", "definition_key")
    yield read_cell("definition-held-starts", "definition_key", shows=False)
    yield read_cell("definition-draft", "definition_key")
    yield read_cell("definition-examples", shows=False)
    yield read_cell("language-schema", shows=False)
    yield read_cell("payload-schema", "schema_ref")
    yield read_cell("actions", shows=False)
    yield read_cell("connectors")
    yield read_cell("action", "connector_action", "connector_version")
    yield read_cell("connector", "connector_action", "connector_version")
    yield read_cell("bundle-export")
    yield read_cell("event", "event_id")
    yield read_cell("event", "event", variant="by row id")
    yield read_cell("event-trace", "event_id")
    yield read_cell("event-type", "event_type_name")
    yield read_cell("delivery", "delivery")
    yield read_cell("secrets", needs=ADMIN)
    yield read_cell("tokens", needs=ADMIN)
    yield read_cell("members", needs=ADMIN)
    yield read_cell("invitations", needs=ADMIN)
    yield read_cell("sign-ins", needs=ADMIN)
    yield read_cell("identity-providers", needs=ADMIN)
    yield read_cell("secret", "secret_name", needs=ADMIN)
    yield read_cell("redaction-rules", needs=ADMIN, shows=False)
    yield read_cell("sign-in-rules", needs=ADMIN, shows=False)
    yield read_cell("retention", needs=ADMIN, shows=False)
    yield Cell("api:schema", "GET", PUBLIC, writes=False, foreign_statuses=None)
    yield Cell("api:docs", "GET", PUBLIC, writes=False, foreign_statuses=None)
    yield read_cell("schedule", "schedule")
    yield read_cell("schedule-occurrences", "schedule")
    yield read_cell("holiday-calendar", "calendar")
    yield from _api_schedules()
    yield from _api_runs()
    yield from _api_bulk()
    yield from _api_incidents()
    yield from _api_events()
    yield from _api_authors()
    yield from _api_definitions()
    yield from _api_admins()


def _api_runs() -> Iterator[Cell]:
    yield write_cell("runs", OPERATOR, body=lambda ids: {"definition": ids["definition_key"], "payload": {}})
    for name in ("cancel", "replay", "resume", "retry", "requeue-event-wait"):
        yield write_cell(f"run-{name}", OPERATOR, "run")
    yield write_cell("run-terminate", ADMIN, "run")
    for name in ("hold", "release"):
        yield write_cell(f"run-{name}", ADMIN, "run")
    # A comparison sets or clears the mark "drift", as the reconciler does.
    yield Cell("api:run-verify", "POST", VIEWER, ("run",), lambda ids: {})
    yield write_cell("run-verify", OPERATOR, "run", body=lambda ids: {"repair": True}, variant="repair")
    yield read_cell("comparison", shows=False)
    yield write_cell("comparison", OPERATOR, foreign_statuses=None)
    yield write_cell("task-complete", OPERATOR, "task", body=lambda ids: {"response": {}})
    yield write_cell("task-claim", OPERATOR, "task", users_only=True)
    yield write_cell("task-release", OPERATOR, "task", users_only=True)
    yield read_cell("task-draft", "task", shows=False)
    typed = {"typed": {"response/note": ["half a"]}}
    yield Cell("api:task-draft", "PUT", OPERATOR, ("task",), lambda ids: typed, users_only=True)
    yield Cell("api:task-draft", "DELETE", OPERATOR, ("task",), users_only=True, writes=False)
    yield write_cell("task-assign", OPERATOR, "task", body=lambda ids: {"username": ids["member"]})


def _api_bulk() -> Iterator[Cell]:
    # A run of another tenant gets an item with the code RUN_NOT_FOUND, as an unknown id does.
    ineligible = frozenset({201})
    for action, needs in (("cancel", OPERATOR), ("replay", OPERATOR), ("terminate", ADMIN)):
        yield write_cell(
            "bulk-jobs", needs, body=lambda ids, action=action: {"action": action, "ids": [ids["run"]]}, variant=action,
            foreign_statuses=ineligible,
        )  # fmt: skip
    yield write_cell(
        "bulk-jobs", OPERATOR, variant="filters", foreign_statuses=frozenset({400}),
        body=lambda ids: {"action": "cancel", "filters": {"definition": ids["definition_key"]}},
    )  # fmt: skip
    for step in ("start", "pause", "resume", "stop", "retry-failures"):
        yield write_cell(f"bulk-{step}", OPERATOR, "bulk_job", variant="cancel")
        yield write_cell(f"bulk-{step}", ADMIN, "terminate_job", variant="terminate")


INCIDENT_BODIES: dict[str, Any] = {
    "own": {"username": ""}, "snooze": {"failures": 3}, "resolve": {"version": 1}, "close": {},
    "merge": {"into": 2}, "split": {"text": "split me"},
}  # fmt: skip


def _api_incidents() -> Iterator[Cell]:
    yield read_cell("incident", "incident")
    for name, body in {**INCIDENT_BODIES, "notes": {"text": "NEW"}, "replay": {}}.items():
        yield write_cell(f"incident-{name}", OPERATOR, "incident", body=lambda ids, body=body: body)
    for name in ("separate", "reopen"):
        yield write_cell(f"incident-{name}", OPERATOR, "closed_incident", body=lambda ids: {})


def _api_events() -> Iterator[Cell]:
    event: dict[str, Any] = {"event_type": "E", "payload": {}}
    # A refused event leaves no row, and no command in the ledger.
    yield Cell("api:events", "POST", OPERATOR, body=lambda ids: event, foreign_statuses=None)
    yield Cell(
        "api:event-what-if",
        "POST",
        OPERATOR,
        body=lambda ids: event,
        writes=False,
        is_alone=True,
        foreign_statuses=None,
    )
    yield Cell(
        "api:event-types-what-if", "POST", OPERATOR, body=lambda ids: {"paths": {"*": "ticketId"}, "last": 10},
        writes=False, is_alone=True, foreign_statuses=None,
    )  # fmt: skip
    one_result_each = frozenset({200})  # the response has a result for each id
    for name in ("redeliver", "discard"):
        yield write_cell(
            f"deliveries-{name}",
            OPERATOR,
            body=lambda ids: {"ids": [ids["delivery"]], **REASON},
            foreign_statuses=one_result_each,
        )
    yield Cell(
        "api:deliveries-redeliver", "POST", OPERATOR, variant="dry run", is_alone=True, writes=False,
        foreign_statuses=one_result_each,
        body=lambda ids: {"ids": [ids["delivery"]], "dry_run": True},
    )  # fmt: skip


def _api_authors() -> Iterator[Cell]:
    own = frozenset({201})  # names are unique per tenant, so the request creates a row of the caller's tenant
    yield write_cell("schemas", AUTHOR, body=lambda ids: {"ref": "new.v1", "schema": {}}, foreign_statuses=None)
    yield write_cell(
        "payload-schema", AUTHOR, "schema_ref", method="PUT", body=lambda ids: {"schema": {}}, foreign_statuses=own
    )
    check = Cell("api:payload-schema-check", "POST", VIEWER, ("schema_ref",), lambda ids: {"schema": {}}, writes=False)
    yield check
    yield write_cell("payload-schema", AUTHOR, "schema_ref", method="DELETE", body=lambda ids: None)
    yield write_cell("event-types", AUTHOR, body=lambda ids: {"name": "NEW"}, foreign_statuses=None)
    yield write_cell("event-type", AUTHOR, "event_type_name", method="PUT", body=lambda ids: {}, foreign_statuses=own)
    yield write_cell("event-type", AUTHOR, "event_type_name", method="DELETE", body=lambda ids: None)
    yield write_cell("bundle-import", AUTHOR, body=bundle_of, foreign_statuses=None)


def _api_definitions() -> Iterator[Cell]:
    yield write_cell("definitions", AUTHOR, body=lambda ids: {"key": "new"}, foreign_statuses=None)
    yield write_cell("definition", AUTHOR, "definition_key", method="PATCH", body=lambda ids: {"owner": "team"})
    yield write_cell("definition", AUTHOR, "definition_key", method="DELETE", body=lambda ids: REASON)
    yield write_cell(
        "definition-draft",
        AUTHOR,
        "definition_key",
        method="PUT",
        body=lambda ids: {"draft_version": 0, "document": {}},
    )
    yield Cell("api:expression-evaluate", "POST", OPERATOR, (), lambda ids: {"expression": "1", "event": ids["event"]},
               writes=False, foreign_statuses=GONE, is_alone=True)  # fmt: skip
    yield Cell("api:language-validate", "POST", AUTHOR, (), lambda ids: {"text": "{}"}, writes=False,
               foreign_statuses=None)  # fmt: skip
    yield Cell("api:definition-validate", "POST", AUTHOR, ("definition_key",), lambda ids: {}, writes=False)
    yield write_cell("definition-publish", AUTHOR, "definition_key", body=lambda ids: {"note": "a test"})
    yield write_cell("definition-rollback", AUTHOR, "definition_key", body=lambda ids: {**REASON, "version": 1})
    for name in ("archive", "unarchive"):
        yield write_cell(f"definition-{name}", AUTHOR, "definition_key")
    yield write_cell("definition-pause", AUTHOR, "definition_key")
    yield write_cell("definition-resume", AUTHOR, "definition_key", body=lambda ids: {**REASON, "held_starts": "skip"})


def _api_schedules() -> Iterator[Cell]:
    new = {"name": "new", "cron": "0 0 1 1 *"}
    yield write_cell("schedules", AUTHOR, body=lambda ids: {**new, "definition": ids["definition_key"]})
    yield Cell("api:schedule-preview", "POST", VIEWER, (), lambda ids: new, writes=False, foreign_statuses=None)
    yield write_cell("schedule", AUTHOR, "schedule", method="PATCH", body=lambda ids: {"catch_up_seconds": 60})
    yield write_cell("schedule", AUTHOR, "schedule", method="DELETE", body=lambda ids: None)
    for name in ("pause", "resume"):
        yield write_cell(f"schedule-{name}", AUTHOR, "schedule")
    yield write_cell("schedule-trigger", OPERATOR, "schedule")
    past = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", **REASON}
    yield write_cell("schedule-backfill", OPERATOR, "schedule", body=lambda ids: past)
    calendar = {"name": "NEW", "weekend": [7], "holidays": {}}
    yield write_cell("holiday-calendars", AUTHOR, body=lambda ids: calendar, foreign_statuses=None)
    yield write_cell("holiday-calendar", AUTHOR, "calendar", method="PUT", body=lambda ids: calendar)
    yield write_cell("holiday-calendar", AUTHOR, "calendar", method="DELETE", body=lambda ids: None)


def bundle_of(ids: Ids) -> dict[str, Any]:
    document = {"id": "new", "version": 1, "name": "New", "payloadSchemaRef": "payload.Any.v1", "steps": []}
    return {"format": "x", "formatVersion": 1, "workflows": [{"key": "new", "draft": {"definition": document}}]}


def _api_admins() -> Iterator[Cell]:
    own = frozenset({201})
    spec = {"label": "A", "url": "https://example.org/"}
    connector = ("connector_action", "connector_version")
    yield write_cell("connectors", ADMIN, body=lambda ids: {"action_id": "a.new", "spec": spec}, foreign_statuses=None)
    yield write_cell(
        "connector", ADMIN, *connector, method="PUT", body=lambda ids: {"spec": spec}, foreign_statuses=own
    )
    yield write_cell("connector", ADMIN, *connector, method="DELETE", body=lambda ids: None)
    yield write_cell("connector-test", AUTHOR, *connector, body=lambda ids: {"input": 1})
    yield write_cell(
        "secret", ADMIN, "secret_name", method="PUT", body=lambda ids: {"value": "a value"}, foreign_statuses=own
    )
    yield write_cell("secret", ADMIN, "secret_name", method="DELETE", body=lambda ids: None)
    rules = {"second_factor_required": False}
    yield write_cell("sign-in-rules", ADMIN, method="PUT", body=lambda ids: rules, foreign_statuses=None)
    periods = {"runs": 30, "events": 30, "notifications": 30, "ledger": 365, "sign_ins": 90, "confirm": True}
    yield write_cell("retention", ADMIN, method="PUT", body=lambda ids: periods, foreign_statuses=None)
    yield write_cell(
        "redaction-rules", ADMIN, method="PUT", body=lambda ids: {"rules": ["*iban*"]}, foreign_statuses=None
    )
    yield write_cell("tokens", ADMIN, body=lambda ids: {"name": "a", "role": "viewer"}, foreign_statuses=None)
    yield write_cell("token-rotate", ADMIN, "token", body=lambda ids: {})
    yield write_cell("token-revoke", ADMIN, "token")
    provider = {
        "issuer": "https://new.example", "client_id": "x", "secret_name": "ACCESS_SECRET", "roles": {"a": "viewer"}
    }  # fmt: skip
    wrong = frozenset({400})  # the secret does not exist
    put = {"method": "PUT", "body": lambda ids: provider, "statuses": wrong, "foreign_statuses": wrong}
    yield write_cell("identity-provider", ADMIN, "identity_provider", **put)
    yield write_cell("identity-provider", ADMIN, "identity_provider", method="DELETE", body=lambda ids: None)
    yield write_cell("member", ADMIN, "member", method="PUT", body=lambda ids: {"role": "viewer"})
    yield write_cell("member", ADMIN, "member", method="DELETE", body=lambda ids: None)
    invited = {"email": "new@example.org", "role": "viewer"}
    yield write_cell("invitations", ADMIN, body=lambda ids: invited, foreign_statuses=None)
    yield write_cell("ledger-exports", ADMIN, body=lambda ids: {}, foreign_statuses=None)
    yield read_cell("ledger-export", "ledger_export", needs=ADMIN, shows=False)
    yield read_cell("ledger-export-signature", "ledger_export", needs=ADMIN, shows=False)
    yield Cell("api:tenants", "GET", SUPERUSER, writes=False, foreign_statuses=None, users_only=True)
    new = {"slug": "new-desk", "name": "New desk"}
    yield write_cell("tenants", SUPERUSER, body=lambda ids: new, foreign_statuses=None)
    yield read_cell("tenant", "tenant_slug", needs=ADMIN)
    yield write_cell("tenant", ADMIN, "tenant_slug", method="PATCH", body=lambda ids: {"name": "New name"})
    yield write_cell("tenant-maintenance", ADMIN, "tenant_slug")
    no_maintenance = {"method": "DELETE", "body": lambda ids: None, "statuses": frozenset({409})}
    yield write_cell("tenant-maintenance", ADMIN, "tenant_slug", **no_maintenance)
    yield Cell("api:maintenance", "GET", VIEWER, writes=False, foreign_statuses=None)
    yield write_cell("maintenance", SUPERUSER, foreign_statuses=None)
    yield write_cell("maintenance", SUPERUSER, foreign_statuses=None, **no_maintenance)
    yield write_cell("invitation-resend", ADMIN, "invitation", body=lambda ids: {})
    yield write_cell("invitation-revoke", ADMIN, "invitation")
