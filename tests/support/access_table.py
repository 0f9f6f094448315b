"""Expected access: one cell for every method of every endpoint. The access matrix fails for a method without a cell."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from ingress.admin.event_batch import packed
from tests.support.access import NOBODY, PUBLIC, SUPERUSER, Cell, Ids
from workflows.statuses import Role

VIEWER, OPERATOR, AUTHOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.AUTHOR, Role.ADMIN
OK = frozenset({200, 302})
GONE = frozenset({404})
FORBIDDEN = frozenset({403})
REFUSED = frozenset({403, 405})  # for every caller
REASON: dict[str, Any] = {"reason": "a test"}


# -- The API -----------------------------------------------------------------------------------------------------------


def _api_cells() -> Iterator[Cell]:
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
        yield _read(name)
    for name in ("run", "run-steps", "run-waits", "run-invocations", "run-logs"):
        yield _read(name, "run")
    yield _read("task", "task")
    yield _read("bulk-job", "bulk_job")
    yield _read("bulk-items", "bulk_job")
    yield _read("command", "command")
    yield _read("definition", "definition_key")
    yield _read("definition-versions", "definition_key")
    yield _read("definition-held-starts", "definition_key", shows=False)
    yield _read("definition-draft", "definition_key")
    yield _read("definition-examples", shows=False)
    yield _read("language-schema", shows=False)
    yield _read("payload-schema", "schema_ref")
    yield _read("actions", shows=False)
    yield _read("connectors")
    yield _read("action", "connector_action", "connector_version")
    yield _read("connector", "connector_action", "connector_version")
    yield _read("bundle-export")
    yield _read("event", "event_id")
    yield _read("event", "event", variant="by row id")
    yield _read("event-trace", "event_id")
    yield _read("event-type", "event_type_name")
    yield _read("delivery", "delivery")
    yield _read("secrets", needs=ADMIN)
    yield _read("tokens", needs=ADMIN)
    yield _read("members", needs=ADMIN)
    yield _read("invitations", needs=ADMIN)
    yield _read("sign-ins", needs=ADMIN)
    yield _read("identity-providers", needs=ADMIN)
    yield _read("secret", "secret_name", needs=ADMIN)
    yield _read("redaction-rules", needs=ADMIN, shows=False)
    yield _read("sign-in-rules", needs=ADMIN, shows=False)
    yield _read("retention", needs=ADMIN, shows=False)
    yield Cell("api:schema", "GET", PUBLIC, writes=False, foreign_statuses=None)
    yield Cell("api:docs", "GET", PUBLIC, writes=False, foreign_statuses=None)
    yield _read("schedule", "schedule")
    yield _read("schedule-occurrences", "schedule")
    yield _read("holiday-calendar", "calendar")
    yield from _api_schedules()
    yield from _api_runs()
    yield from _api_bulk()
    yield from _api_incidents()
    yield from _api_events()
    yield from _api_authors()
    yield from _api_definitions()
    yield from _api_admins()


def _read(name: str, *args: str, needs: str = VIEWER, shows: bool = True, variant: str = "") -> Cell:
    foreign = GONE if args else None
    return Cell(f"api:{name}", "GET", needs, args, writes=False, foreign_statuses=foreign, shows=shows, variant=variant)


def _write(name: str, needs: str, *args: str, body: Callable[[Ids], Any] = lambda ids: REASON, **more: Any) -> Cell:
    return Cell(f"api:{name}", more.pop("method", "POST"), needs, args, body, is_recorded=True, **more)


def _api_runs() -> Iterator[Cell]:
    yield _write("runs", OPERATOR, body=lambda ids: {"definition": ids["definition_key"], "payload": {}})
    for name in ("cancel", "replay", "resume", "retry", "requeue-event-wait"):
        yield _write(f"run-{name}", OPERATOR, "run")
    yield _write("run-terminate", ADMIN, "run")
    for name in ("hold", "release"):
        yield _write(f"run-{name}", ADMIN, "run")
    yield Cell("api:run-verify", "POST", VIEWER, ("run",), lambda ids: {}, writes=False)
    yield _write("run-verify", OPERATOR, "run", body=lambda ids: {"repair": True}, variant="repair")
    yield _write("task-complete", OPERATOR, "task", body=lambda ids: {"response": {}})
    yield _write("task-claim", OPERATOR, "task", users_only=True)
    yield _write("task-release", OPERATOR, "task", users_only=True)
    yield _read("task-draft", "task", shows=False)
    typed = {"typed": {"response/note": ["half a"]}}
    yield Cell("api:task-draft", "PUT", OPERATOR, ("task",), lambda ids: typed, users_only=True)
    yield Cell("api:task-draft", "DELETE", OPERATOR, ("task",), users_only=True, writes=False)
    yield _write("task-assign", OPERATOR, "task", body=lambda ids: {"username": ids["member"]})


def _api_bulk() -> Iterator[Cell]:
    # A run of another tenant gets an item with the code RUN_NOT_FOUND, as an unknown id does.
    ineligible = frozenset({201})
    for action, needs in (("cancel", OPERATOR), ("replay", OPERATOR), ("terminate", ADMIN)):
        yield _write(
            "bulk-jobs", needs, body=lambda ids, action=action: {"action": action, "ids": [ids["run"]]}, variant=action,
            foreign_statuses=ineligible,
        )  # fmt: skip
    yield _write(
        "bulk-jobs", OPERATOR, variant="filters", foreign_statuses=frozenset({400}),
        body=lambda ids: {"action": "cancel", "filters": {"definition": ids["definition_key"]}},
    )  # fmt: skip
    for step in ("start", "pause", "resume", "stop", "retry-failures"):
        yield _write(f"bulk-{step}", OPERATOR, "bulk_job", variant="cancel")
        yield _write(f"bulk-{step}", ADMIN, "terminate_job", variant="terminate")


_INCIDENT_BODIES: dict[str, Any] = {
    "own": {"username": ""}, "snooze": {"failures": 3}, "resolve": {"version": 1}, "close": {},
    "merge": {"into": 2}, "split": {"text": "split me"},
}  # fmt: skip


def _api_incidents() -> Iterator[Cell]:
    yield _read("incident", "incident")
    for name, body in {**_INCIDENT_BODIES, "notes": {"text": "NEW"}, "replay": {}}.items():
        yield _write(f"incident-{name}", OPERATOR, "incident", body=lambda ids, body=body: body)
    for name in ("separate", "reopen"):
        yield _write(f"incident-{name}", OPERATOR, "closed_incident", body=lambda ids: {})


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
        yield _write(
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
    yield _write("schemas", AUTHOR, body=lambda ids: {"ref": "new.v1", "schema": {}}, foreign_statuses=None)
    yield _write(
        "payload-schema", AUTHOR, "schema_ref", method="PUT", body=lambda ids: {"schema": {}}, foreign_statuses=own
    )
    check = Cell("api:payload-schema-check", "POST", VIEWER, ("schema_ref",), lambda ids: {"schema": {}}, writes=False)
    yield check
    yield _write("payload-schema", AUTHOR, "schema_ref", method="DELETE", body=lambda ids: None)
    yield _write("event-types", AUTHOR, body=lambda ids: {"name": "NEW"}, foreign_statuses=None)
    yield _write("event-type", AUTHOR, "event_type_name", method="PUT", body=lambda ids: {}, foreign_statuses=own)
    yield _write("event-type", AUTHOR, "event_type_name", method="DELETE", body=lambda ids: None)
    yield _write("bundle-import", AUTHOR, body=_bundle, foreign_statuses=None)


def _api_definitions() -> Iterator[Cell]:
    yield _write("definitions", AUTHOR, body=lambda ids: {"key": "new"}, foreign_statuses=None)
    yield _write("definition", AUTHOR, "definition_key", method="PATCH", body=lambda ids: {"owner": "team"})
    yield _write("definition", AUTHOR, "definition_key", method="DELETE", body=lambda ids: REASON)
    yield _write(
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
    yield _write("definition-publish", AUTHOR, "definition_key", body=lambda ids: {"note": "a test"})
    yield _write("definition-rollback", AUTHOR, "definition_key", body=lambda ids: {**REASON, "version": 1})
    for name in ("archive", "unarchive"):
        yield _write(f"definition-{name}", AUTHOR, "definition_key")
    yield _write("definition-pause", AUTHOR, "definition_key")
    yield _write("definition-resume", AUTHOR, "definition_key", body=lambda ids: {**REASON, "held_starts": "skip"})


def _api_schedules() -> Iterator[Cell]:
    new = {"name": "new", "cron": "0 0 1 1 *"}
    yield _write("schedules", AUTHOR, body=lambda ids: {**new, "definition": ids["definition_key"]})
    yield Cell("api:schedule-preview", "POST", VIEWER, (), lambda ids: new, writes=False, foreign_statuses=None)
    yield _write("schedule", AUTHOR, "schedule", method="PATCH", body=lambda ids: {"catch_up_seconds": 60})
    yield _write("schedule", AUTHOR, "schedule", method="DELETE", body=lambda ids: None)
    for name in ("pause", "resume"):
        yield _write(f"schedule-{name}", AUTHOR, "schedule")
    yield _write("schedule-trigger", OPERATOR, "schedule")
    past = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", **REASON}
    yield _write("schedule-backfill", OPERATOR, "schedule", body=lambda ids: past)
    calendar = {"name": "NEW", "weekend": [7], "holidays": {}}
    yield _write("holiday-calendars", AUTHOR, body=lambda ids: calendar, foreign_statuses=None)
    yield _write("holiday-calendar", AUTHOR, "calendar", method="PUT", body=lambda ids: calendar)
    yield _write("holiday-calendar", AUTHOR, "calendar", method="DELETE", body=lambda ids: None)


def _bundle(ids: Ids) -> dict[str, Any]:
    document = {"id": "new", "version": 1, "name": "New", "payloadSchemaRef": "payload.Any.v1", "steps": []}
    return {"format": "x", "formatVersion": 1, "workflows": [{"key": "new", "draft": {"definition": document}}]}


def _api_admins() -> Iterator[Cell]:
    own = frozenset({201})
    spec = {"label": "A", "url": "https://example.org/"}
    connector = ("connector_action", "connector_version")
    yield _write("connectors", ADMIN, body=lambda ids: {"action_id": "a.new", "spec": spec}, foreign_statuses=None)
    yield _write("connector", ADMIN, *connector, method="PUT", body=lambda ids: {"spec": spec}, foreign_statuses=own)
    yield _write("connector", ADMIN, *connector, method="DELETE", body=lambda ids: None)
    yield _write("connector-test", AUTHOR, *connector, body=lambda ids: {"input": 1})
    yield _write(
        "secret", ADMIN, "secret_name", method="PUT", body=lambda ids: {"value": "a value"}, foreign_statuses=own
    )
    yield _write("secret", ADMIN, "secret_name", method="DELETE", body=lambda ids: None)
    rules = {"second_factor_required": False}
    yield _write("sign-in-rules", ADMIN, method="PUT", body=lambda ids: rules, foreign_statuses=None)
    periods = {"runs": 30, "events": 30, "notifications": 30, "ledger": 365, "sign_ins": 90}
    yield _write("retention", ADMIN, method="PUT", body=lambda ids: periods, foreign_statuses=None)
    yield _write("redaction-rules", ADMIN, method="PUT", body=lambda ids: {"rules": ["*iban*"]}, foreign_statuses=None)
    yield _write("tokens", ADMIN, body=lambda ids: {"name": "a", "role": "viewer"}, foreign_statuses=None)
    yield _write("token-rotate", ADMIN, "token", body=lambda ids: {})
    yield _write("token-revoke", ADMIN, "token")
    provider = {
        "issuer": "https://new.example", "client_id": "x", "secret_name": "ACCESS_SECRET", "roles": {"a": "viewer"}
    }  # fmt: skip
    wrong = frozenset({400})  # the secret does not exist
    put = {"method": "PUT", "body": lambda ids: provider, "statuses": wrong, "foreign_statuses": wrong}
    yield _write("identity-provider", ADMIN, "identity_provider", **put)
    yield _write("identity-provider", ADMIN, "identity_provider", method="DELETE", body=lambda ids: None)
    yield _write("member", ADMIN, "member", method="PUT", body=lambda ids: {"role": "viewer"}, foreign_statuses=own)
    yield _write("member", ADMIN, "member", method="DELETE", body=lambda ids: None)
    invited = {"email": "new@example.org", "role": "viewer"}
    yield _write("invitations", ADMIN, body=lambda ids: invited, foreign_statuses=None)
    yield _write("ledger-exports", ADMIN, body=lambda ids: {}, foreign_statuses=None)
    yield _read("ledger-export", "ledger_export", needs=ADMIN, shows=False)
    yield _read("ledger-export-signature", "ledger_export", needs=ADMIN, shows=False)
    yield Cell("api:tenants", "GET", SUPERUSER, writes=False, foreign_statuses=None, users_only=True)
    new = {"slug": "new-desk", "name": "New desk"}
    yield _write("tenants", SUPERUSER, body=lambda ids: new, foreign_statuses=None)
    yield _read("tenant", "tenant_slug", needs=ADMIN)
    yield _write("tenant", ADMIN, "tenant_slug", method="PATCH", body=lambda ids: {"name": "New name"})
    yield _write("tenant-maintenance", ADMIN, "tenant_slug")
    no_maintenance = {"method": "DELETE", "body": lambda ids: None, "statuses": frozenset({409})}
    yield _write("tenant-maintenance", ADMIN, "tenant_slug", **no_maintenance)
    yield Cell("api:maintenance", "GET", VIEWER, writes=False, foreign_statuses=None)
    yield _write("maintenance", SUPERUSER, foreign_statuses=None)
    yield _write("maintenance", SUPERUSER, foreign_statuses=None, **no_maintenance)
    yield _write("invitation-resend", ADMIN, "invitation", body=lambda ids: {})
    yield _write("invitation-revoke", ADMIN, "invitation")


# -- The screens -------------------------------------------------------------------------------------------------------


def _screen_cells() -> Iterator[Cell]:
    yield from _site_cells()
    for model in ("run", "event", "command", "notification", "humantask", "eventdelivery", "bulkjob", "incident"):
        yield from _pages(model)
    for model in ("eventtype", "payloadschema"):
        yield from _author_pages(model)
    yield from _connector_pages()
    schedule = {"name": "NEW", "cron": "0 0 1 1 *", "time_zone": "UTC", "payload": "{}", "overlap": "skip"}
    yield from _author_pages("schedule", {**schedule, "catch_up_seconds": "60"})
    yield from _author_pages("holidaycalendar", {"name": "NEW", "weekend": ["7"]})
    yield from _schedule_steps()
    yield from _secret_pages()
    yield from _token_and_member_pages()
    yield from _tenant_pages()
    yield _get("workflows_signinrecord_changelist", ADMIN, shows=True)
    yield _post("workflows_signinrecord_changelist", NOBODY, denied_statuses=REFUSED)
    yield from _run_screens()
    yield from _event_screens()
    yield from _definition_screens()
    yield from _incident_screens()
    yield from _other_screens()
    for model in ("user", "group"):
        yield from _pages(model, app="auth", reads=SUPERUSER, edits=SUPERUSER)
    for name in ("password_change", "reset_factors"):
        yield from _both(f"admin:auth_user_{name}", SUPERUSER, "user", foreign_statuses=None)


def _account_cells() -> Iterator[Cell]:
    """Yield the cells of sign-in. Its pages do not depend on a role, and a failed attempt is recorded."""
    for name in ("login", "reset_password", "reset_password_done", "reset_password_from_key_done"):
        for method in ("GET", "POST"):
            statuses = frozenset({405}) if name.endswith("_done") and method == "POST" else OK
            yield _account(f"account_{name}", method, statuses)
    factor_pages = (
        "mfa_index", "mfa_authenticate", "mfa_reauthenticate", "mfa_activate_totp", "mfa_deactivate_totp",
        "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_add_webauthn", "mfa_remove_webauthn",
        "mfa_login_webauthn", "mfa_reauthenticate_webauthn", "account_reauthenticate",
    )  # fmt: skip
    for method in ("GET", "POST"):
        end = "/account/security/sessions/1/end/"
        yield _account(
            "account_session_end", method, GONE | OK if method == "POST" else OK | frozenset({405}), path=end
        )
        for name in factor_pages:  # rows of the own account; 403 without a password, 404 without a factor
            path = "/account/security/passkeys/1/remove/" if name == "mfa_remove_webauthn" else ""
            yield _account(name, method, OK | FORBIDDEN | GONE | frozenset({405}), path=path)
        for name in ("account_organisation", "openid_connect_login", "openid_connect_callback"):
            path = "/account/oidc/00000000-0000-0000-0000-000000000000/login/"
            where = {} if name == "account_organisation" else {"path": path + "callback/" * name.endswith("callback")}
            yield _account(name, method, (GONE if where else OK) if method == "GET" else frozenset({405}), **where)
        yield _account("account_reset_password_from_key", method, OK, path="/account/password/reset/key/1-x/")
        yield _account("account_change_password", method, OK | FORBIDDEN)  # 403 for an account without a password
        yield _account("account_logout", method, OK if method == "POST" else frozenset({405}))


def _account(name: str, method: str, statuses: frozenset[int], **more: Any) -> Cell:
    return Cell(name, method, PUBLIC, statuses=statuses, writes=False, foreign_statuses=None, **more)


def _get(name: str, needs: str = VIEWER, *args: str, **more: Any) -> Cell:
    more.setdefault("foreign_statuses", GONE if args else None)
    return Cell(
        f"admin:{name}" if ":" not in name and "/" not in name else name, "GET", needs, args, writes=False, **more
    )


def _post(name: str, needs: str, *args: str, **more: Any) -> Cell:
    more.setdefault("foreign_statuses", GONE if args else None)
    more.setdefault("body", lambda ids: REASON)
    return Cell(f"admin:{name}" if ":" not in name and "/" not in name else name, "POST", needs, args, **more)


def _both(name: str, needs: str, *args: str, **more: Any) -> Iterator[Cell]:
    """Yield the cells of a page that treats a POST like a GET."""
    yield _get(name, needs, *args, **more)
    yield _post(name, needs, *args, writes=False, **more)


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
    yield from _both("admin:index", VIEWER)
    yield from _both("admin:support", VIEWER)
    yield from _both("admin:search", VIEWER, query=lambda ids: {"s": "run"})
    yield from _both("admin:app_list", VIEWER, "app", foreign_statuses=None)
    yield from _both("admin:login", PUBLIC, statuses=OK | FORBIDDEN)  # 403 for an account without a tenant
    yield _get("choose_tenant", NOBODY, denied_statuses=REFUSED)
    yield _post("choose_tenant", VIEWER, body=lambda ids: {"tenant": ids["tenant"]}, foreign_statuses=OK)
    yield _get("logout", NOBODY, denied_statuses=REFUSED)
    yield _post("logout", VIEWER)
    yield from _account_cells()
    yield _get("jsi18n")
    yield _post("jsi18n", NOBODY, denied_statuses=REFUSED)
    source = {"app_label": "workflows", "model_name": "command", "field_name": "run"}
    yield _get(
        "autocomplete",
        VIEWER,
        query=lambda ids: {**source, "term": ids["correlation_key"]},
        foreign_statuses=frozenset({200}),
    )
    yield _post("autocomplete", NOBODY, denied_statuses=REFUSED)
    missing = {"statuses": GONE, "foreign_statuses": GONE}
    yield from _both("admin:view_on_site", VIEWER, "content_type", "run", **missing)
    yield from _both("admin/(?P<url>.*)$", VIEWER, path="/admin/no-such-page/", **missing)


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
    yield _get(f"{name}_changelist", reads, shows=shows)
    if model in ("run", "eventdelivery"):  # a POST without an action shows the list again
        yield _post(f"{name}_changelist", reads, writes=False)
        yield _action(model, "delete_selected", NOBODY, row, FORBIDDEN)
    else:
        yield _post(f"{name}_changelist", edits, denied_statuses=REFUSED)
    yield _get(f"{name}_change", reads, row, shows=shows, foreign_statuses=foreign)
    yield _get(f"{name}_history", reads, row, foreign_statuses=foreign)
    yield _post(f"{name}_history", reads, row, foreign_statuses=foreign, writes=False)
    yield from _both(f"admin/{app}/{model}/<path:object_id>/", VIEWER, row, foreign_statuses=foreign)
    yield from _edit_pages(name, row, edits, **denied)


def _edit_pages(name: str, row: str, edits: str, **more: Any) -> Iterator[Cell]:
    yield _get(f"{name}_add", edits, denied_statuses=REFUSED)
    yield _post(f"{name}_add", edits, denied_statuses=REFUSED)
    is_kept = name == "auth_user"  # accounts are never deleted
    deletes, denied = (NOBODY, {**more, "denied_statuses": REFUSED}) if is_kept else (edits, more)
    yield _get(f"{name}_delete", deletes, row, **denied)
    yield _post(f"{name}_delete", deletes, row, body=lambda ids: {"post": "yes"}, **denied)
    if name != "workflows_humantask":
        yield _post(f"{name}_change", edits, row, **more)


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
    yield from _readable_pages(model, row)
    yield _get(f"{name}_add", AUTHOR)
    yield _get(f"{name}_delete", VIEWER, row)
    yield _post(f"{name}_add", AUTHOR, body=lambda ids: {**body, "definition": ids["definition_key"]}, is_recorded=True)
    yield _post(f"{name}_change", AUTHOR, row, body=lambda ids: body, is_recorded=True)
    yield _post(f"{name}_delete", AUTHOR, row, is_recorded=True)


def _connector_pages() -> Iterator[Cell]:
    name, row, spec = "workflows_connector", "connector", {"label": "A", "url": "https://example.org/"}
    body = {**spec, "action_id": "a.new", "category": "A", "method": "POST", "body_format": "json", "save_as": "new"}
    yield from _readable_pages("connector", row)
    yield _get(f"{name}_add", ADMIN)
    yield _get(f"{name}_delete", VIEWER, row)
    yield _post(f"{name}_add", ADMIN, body=lambda ids: {**body, "timeout_seconds": "5"}, is_recorded=True)
    yield _post(f"{name}_change", ADMIN, row, body=lambda ids: {**body, "timeout_seconds": "5"}, is_recorded=True)
    yield _post(f"{name}_delete", ADMIN, row, is_recorded=True)
    yield _get(f"{name}_test", VIEWER, row)
    yield _post(f"{name}_test", AUTHOR, row, body=lambda ids: {"input": "1"}, is_recorded=True)
    yield from _both(f"admin:{name}_catalogue", VIEWER)
    yield from _both(f"admin:{name}_action", VIEWER, "connector_action", "connector_version")


def _readable_pages(model: str, row: str) -> Iterator[Cell]:
    """Yield the cells of the pages that every member may read."""
    name = f"workflows_{model}"
    yield _get(f"{name}_changelist", shows=True)
    yield _post(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield _get(f"{name}_change", VIEWER, row, shows=True)
    yield _get(f"{name}_history", VIEWER, row)
    yield _post(f"{name}_history", VIEWER, row, writes=False)
    yield from _both(f"admin/workflows/{model}/<path:object_id>/", VIEWER, row)


def _schedule_steps() -> Iterator[Cell]:
    past = {"start": "2026-01-01 00:00", "end": "2026-01-02 00:00", "overlap": "skip", "confirmed": "yes", **REASON}
    steps = {"pause": (AUTHOR, REASON), "resume": (AUTHOR, REASON), "trigger": (OPERATOR, REASON)}
    for name, (needs, body) in {**steps, "backfill": (OPERATOR, past)}.items():
        yield _get(f"workflows_schedule_{name}", VIEWER, "schedule")
        yield _post(f"workflows_schedule_{name}", needs, "schedule", body=lambda ids, body=body: body, is_recorded=True)


def _secret_pages() -> Iterator[Cell]:
    name, row = "workflows_secret", "secret"
    body = {"name": "NEW", "value": "a value"}
    yield _get(f"{name}_changelist", ADMIN, shows=True)
    yield _post(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield _get(f"{name}_change", ADMIN, row, shows=True)
    yield _get(f"{name}_history", ADMIN, row)
    yield _post(f"{name}_history", ADMIN, row, writes=False)
    yield from _both("admin/workflows/secret/<path:object_id>/", VIEWER, row)
    yield _get(f"{name}_add", ADMIN)
    yield _get(f"{name}_delete", ADMIN, row)
    yield _post(f"{name}_add", ADMIN, body=lambda ids: body, is_recorded=True)
    yield _post(f"{name}_change", ADMIN, row, body=lambda ids: body, is_recorded=True)
    yield _post(f"{name}_delete", ADMIN, row, is_recorded=True)
    yield _get("workflows_secret_redaction", ADMIN)
    yield _get("sign_in_rules", ADMIN)
    yield _post("sign_in_rules", ADMIN, body=lambda ids: {"is_required": ""}, is_recorded=True)
    periods = {"runs": "30", "events": "30", "notifications": "30", "ledger": "365", "sign_ins": "90"}
    yield _get("retention", ADMIN)
    yield _post("retention", ADMIN, body=lambda ids: periods, is_recorded=True)
    yield _post("workflows_secret_redaction", ADMIN, body=lambda ids: {"rules": "*iban*"}, is_recorded=True)


def _token_and_member_pages() -> Iterator[Cell]:
    token, member, provider = "workflows_apitoken", "workflows_tenantmembership", "workflows_identityprovider"
    invitation = "workflows_invitation"
    bodies = {
        token: {"name": "a", "role": "viewer"},
        member: {"username": "nobody", "role": "viewer"},
        invitation: {"email": "new@example.org", "role": "viewer"},
    }
    issuer = {
        "name": "new",
        "issuer": "https://new.example",
        "client_id": "x",
        "group_claim": "g",
        "roles": "a = viewer",
    }
    changes = {
        token: {"what": "revoke"},
        member: {"what": "save", "role": "viewer"},
        invitation: {"what": "revoke"},
        provider: {"what": "delete"},
    }
    rows = ((token, "token"), (member, "membership"), (invitation, "invitation"), (provider, "identity_provider_row"))
    for name, row in rows:
        model = name.removeprefix("workflows_")
        yield _get(f"{name}_changelist", ADMIN, shows=True)
        yield _post(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
        yield _get(f"{name}_change", ADMIN, row, shows=True)
        yield _get(f"{name}_history", ADMIN, row)
        yield _post(f"{name}_history", ADMIN, row, writes=False)
        yield from _both(f"admin/workflows/{model}/<path:object_id>/", VIEWER, row)
        yield _get(f"{name}_add", ADMIN)
        yield _get(f"{name}_delete", NOBODY, row, foreign_statuses=FORBIDDEN)
        yield _post(f"{name}_delete", NOBODY, row, foreign_statuses=FORBIDDEN)
        if name == provider:
            body = lambda ids: {**issuer, "secret_name": ids["secret_name"]}  # noqa: E731
            yield _post(f"{name}_add", ADMIN, body=body, is_recorded=True)
        else:
            yield _post(f"{name}_add", ADMIN, body=lambda ids, name=name: bodies[name], is_recorded=True)
        yield _post(f"{name}_change", ADMIN, row, body=lambda ids, name=name: changes[name], is_recorded=True)


def _tenant_pages() -> Iterator[Cell]:
    yield _get("workflows_command_export", ADMIN)
    yield _post("workflows_command_export", ADMIN, is_recorded=True)
    name, superusers_see_all = "workflows_tenant", frozenset({403, 404})
    yield _get(f"{name}_changelist", SUPERUSER)
    yield _post(f"{name}_changelist", NOBODY, denied_statuses=REFUSED)
    yield _get(f"{name}_add", SUPERUSER)
    yield _post(f"{name}_add", SUPERUSER, body=lambda ids: {"name": "NEW", "slug": "new-desk"}, is_recorded=True)
    yield _get(f"{name}_portal", SUPERUSER)
    yield _post(f"{name}_portal", SUPERUSER, is_recorded=True)
    yield _get(f"{name}_change", ADMIN, "tenant", shows=True, foreign_statuses=superusers_see_all)
    renamed = {"what": "rename", "name": "NEW"}
    yield _post(f"{name}_change", ADMIN, "tenant", body=lambda ids: renamed, is_recorded=True)
    yield _get(f"{name}_history", ADMIN, "tenant", foreign_statuses=superusers_see_all)
    yield _post(f"{name}_history", ADMIN, "tenant", writes=False)
    yield from _both("admin/workflows/tenant/<path:object_id>/", VIEWER, "tenant", foreign_statuses=superusers_see_all)
    yield _get(f"{name}_delete", NOBODY, "tenant", foreign_statuses=FORBIDDEN)
    yield _post(f"{name}_delete", NOBODY, "tenant", foreign_statuses=FORBIDDEN)


def _run_screens() -> Iterator[Cell]:
    for name, needs in (("cancel", OPERATOR), ("replay", OPERATOR), ("terminate", ADMIN), ("repair", OPERATOR)):
        yield _get(f"workflows_run_{name}", VIEWER, "run")
        body = {**REASON, "payload": "{}", "confirmed": "yes"}
        yield _post(f"workflows_run_{name}", needs, "run", body=lambda ids, body=body: body, is_recorded=True)
    for name in ("hold", "release"):
        yield _get(f"workflows_run_{name}", ADMIN, "run")
        yield _post(f"workflows_run_{name}", ADMIN, "run", is_recorded=True)
    yield from _both("admin:workflows_run_verify", VIEWER, "run")
    for kind in ("csv", "json"):
        yield _get(f"workflows_run_export_{kind}", VIEWER, shows=True)
        yield _post(f"workflows_run_export_{kind}", NOBODY, denied_statuses=REFUSED)
    saved = {"name": "A view", "query": ""}
    yield _get("workflows_run_save_view", VIEWER)
    yield _post("workflows_run_save_view", VIEWER, body=lambda ids: saved, is_recorded=True)
    yield _get("workflows_run_delete_view", VIEWER, "saved_view")
    yield _post("workflows_run_delete_view", VIEWER, "saved_view", is_recorded=True)
    for action, needs in (("cancel_runs", OPERATOR), ("replay_runs", OPERATOR), ("terminate_runs", ADMIN)):
        yield _action("run", action, needs, "run")
    for step in ("start", "pause", "resume", "stop", "retry-failures"):
        yield _get(f"workflows_bulkjob_{step}", VIEWER, "bulk_job")
        yield _post(f"workflows_bulkjob_{step}", OPERATOR, "bulk_job", is_recorded=True)
        yield _post(f"workflows_bulkjob_{step}", ADMIN, "terminate_job", is_recorded=True, variant="terminate")
    yield _get("workflows_bulkjob_again", VIEWER, "replay_job")
    yield _post("workflows_bulkjob_again", OPERATOR, "replay_job", is_recorded=True)


def _action(model: str, action: str, needs: str, row: str, foreign: frozenset[int] = OK, **more: Any) -> Cell:
    return _post(
        f"workflows_{model}_changelist", needs, variant=action, foreign_statuses=foreign,
        body=lambda ids: {"action": action, "_selected_action": [ids[row]], **more},
    )  # fmt: skip


def _event_screens() -> Iterator[Cell]:
    yield _get("workflows_event_send", VIEWER)
    sent = {"event_type": "E", "payload": "{}"}
    yield _post("workflows_event_send", OPERATOR, body=lambda ids: sent, is_recorded=True)
    yield _get("workflows_event_batch", VIEWER)
    content = packed(b'{"event_type": "E", "payload": {}}')
    yield _post(
        "workflows_event_batch", OPERATOR, body=lambda ids: {"content": content, "do": "send"}, is_recorded=True
    )
    yield _get("workflows_event_what_if", VIEWER)
    yield _get(
        "workflows_event_what_if",
        VIEWER,
        query=lambda ids: {"event": ids["event"]},
        variant="for an event",
        foreign_statuses=GONE,
        shows=True,
    )
    request = {"event": '{"event_type": "E", "payload": {}}'}
    yield _post("workflows_event_what_if", OPERATOR, body=lambda ids: request, writes=False, is_alone=True)
    yield _get("workflows_event_what_if_correlation", VIEWER)
    paths = {"paths": '{"*": "ticketId"}', "last": "10"}
    yield _post("workflows_event_what_if_correlation", OPERATOR, body=lambda ids: paths, writes=False, is_alone=True)
    for name in ("redeliver", "discard"):
        yield _get(f"workflows_eventdelivery_{name}", VIEWER, "delivery", is_alone=True, shows=True)
        yield _post(f"workflows_eventdelivery_{name}", OPERATOR, "delivery", is_recorded=True)
        yield _action("eventdelivery", f"{name}_many", OPERATOR, "delivery", confirmed="yes", **REASON)


def _definition_screens() -> Iterator[Cell]:
    name, row = "workflows_definition", "definition"
    yield _get(f"{name}_changelist", shows=True)
    yield _post(f"{name}_changelist", VIEWER, writes=False)
    yield _action("definition", "delete_selected", NOBODY, row, FORBIDDEN)
    yield _action("definition", "export_bundle", VIEWER, row)
    yield _get(f"{name}_change", VIEWER, row, shows=True)
    yield _post(f"{name}_change", NOBODY, row, denied_statuses=REFUSED, foreign_statuses=frozenset({403, 404, 405}))
    yield _get(f"{name}_history", VIEWER, row)
    yield _post(f"{name}_history", VIEWER, row, writes=False)
    yield from _both("admin/workflows/definition/<path:object_id>/", VIEWER, row)
    yield _get(f"{name}_add", AUTHOR)
    yield _post(f"{name}_add", AUTHOR, body=lambda ids: {"key": "from-page"}, is_recorded=True)
    bodies: dict[str, dict[str, Any]] = {
        "draft": {"draft_version": "0", "document": "{}"},
        "publish": {"draft_version": "0"},
        "settings": {"owner": "o"},
        "resume": {**REASON, "held": "skip"},
        **dict.fromkeys(("pause", "archive", "unarchive", "delete"), REASON),
    }
    for view, body in bodies.items():
        yield _get(f"{name}_{view}", AUTHOR, row)
        yield _post(f"{name}_{view}", AUTHOR, row, body=lambda ids, body=body: body, is_recorded=True)
    yield _get(f"{name}_rollback", AUTHOR, row, "version")
    yield _post(f"{name}_rollback", AUTHOR, row, "version", is_recorded=True)


def _incident_screens() -> Iterator[Cell]:
    for name, body in {**_INCIDENT_BODIES, "note": {"text": "NEW"}}.items():
        yield _get(f"workflows_incident_{name}", OPERATOR, "incident")
        yield _post(
            f"workflows_incident_{name}", OPERATOR, "incident", body=lambda ids, body=body: body, is_recorded=True
        )
    for name in ("separate", "reopen"):
        yield _get(f"workflows_incident_{name}", OPERATOR, "incident")
        yield _post(f"workflows_incident_{name}", OPERATOR, "closed_incident", body=lambda ids: {}, is_recorded=True)
    for name in ("take", "replay"):
        yield _get(f"workflows_incident_{name}", NOBODY, "incident", denied_statuses=REFUSED, foreign_statuses=REFUSED)
        yield _post(f"workflows_incident_{name}", OPERATOR, "incident", is_recorded=True)


def _other_screens() -> Iterator[Cell]:
    yield _get("workflows_definition_import", AUTHOR)
    yield _post(
        "workflows_definition_import", AUTHOR, is_recorded=True,
        body=lambda ids: {"text": json.dumps(_bundle(ids)), "step": "import"},
    )  # fmt: skip
    yield _get("workflows_definition_lab", VIEWER)
    lab = {"expression": "1"}
    yield _post(
        "workflows_definition_lab", OPERATOR, body=lambda ids: {**lab, "event": ids["event"]}, writes=False,
        is_alone=True,
    )  # fmt: skip
    yield _get("workflows_definition_start", VIEWER, "definition")
    yield _post(
        "workflows_definition_start", OPERATOR, "definition", body=lambda ids: {"payload": "{}"}, is_recorded=True
    )
    yield _post("workflows_humantask_change", OPERATOR, "task", body=lambda ids: {"response": "{}"}, is_recorded=True)
    for name in ("claim", "release"):
        yield _get(f"workflows_humantask_{name}", VIEWER, "task")
        yield _post(f"workflows_humantask_{name}", OPERATOR, "task", is_recorded=True)
    for name in ("assign", "draft"):
        yield _get(f"workflows_humantask_{name}", VIEWER, "task")
    yield _post(
        "workflows_humantask_assign", OPERATOR, "task", body=lambda ids: {"username": ids["member"]}, is_recorded=True
    )
    yield _post("workflows_humantask_draft", OPERATOR, "task", body=lambda ids: {"response": "{}"})


CELLS = {cell.label: cell for cell in (*_api_cells(), *_screen_cells())}
