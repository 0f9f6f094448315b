"""Every endpoint and screen with every role, and with the ids of another tenant.

The URLs come from Django's resolver. The expectations are in `tests/support/access_table.py`. A URL, a method or a list
action without an expectation fails. With `-s` the matrix is printed. ACCESS_MATRIX_FILE names a file for it.
Source: docs/reference/authority.md#control-matrix
"""

import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import override_settings
from django.urls import resolve, reverse

from tests.support.access import (
    SUPERUSER,
    Caller,
    CallResult,
    Cell,
    anonymous,
    api_client,
    call_endpoint,
    endpoints,
    user,
)
from tests.support.access_rows import fill_tenant, identifying_texts
from tests.support.access_table import CELLS
from tests.support.factories import make_tenant
from workflows import tenancy
from workflows.models import Run
from workflows.statuses import Role

HOME, FOREIGN = "HOME-MARK", "FOREIGN-MARK"
BROKEN = b"{"  # not JSON
COLUMNS = ("anonymous", "no tenant", *Role.values, SUPERUSER, "foreign")


class World:
    """Two tenants with rows, one without, and their callers. It collects the statuses for the printed table."""

    def __init__(self) -> None:
        empty = make_tenant()
        self.newcomers = [user(f"newcomer-{empty.slug}", Role.ADMIN, empty), api_client(Role.ADMIN, empty)]
        self.empty = empty
        self.pages_before = self.empty_pages()
        self.own = fill_tenant(HOME)
        self.other = fill_tenant(FOREIGN)
        self.tenants = [self.own.tenant, self.other.tenant]
        self.stranger = user(f"stranger-{self.own.tenant.slug}", "", None)
        self.anonymous = anonymous()
        self.texts = {HOME: identifying_texts(self.own), FOREIGN: identifying_texts(self.other)}
        self.seen: dict[str, dict[str, str]] = {}

    def callers(self, cell: Cell) -> list[Caller]:
        if cell.is_public:  # the response is the same for all callers
            return [self.own.users[Role.ADMIN]]
        people = dict(self.own.users)
        if cell.needs != SUPERUSER:
            del people[SUPERUSER]
        if not cell.is_api or cell.users_only:
            return list(people.values())
        return [*self.own.api_clients.values(), people[Role.VIEWER], people[Role.ADMIN]]

    def call(self, cell: Cell, caller: Caller, *, ids: Any = None, **more: Any) -> CallResult:
        return call_endpoint(cell, caller, ids or self.own.ids, self.tenants, **more)

    def call_with_foreign_ids(self, cell: Cell, caller: Caller, **more: Any) -> CallResult:
        """Call the cell with the ids of the other tenant in URL, query and body, and with no own id."""
        own, caller.ids = caller.ids, {}
        try:
            return self.call(cell, caller, ids=self.other.ids, **more)
        finally:
            caller.ids = own

    def empty_pages(self) -> dict[str, str]:
        """Return every page and list that needs no row, as a member of the tenant without rows sees it."""
        pages = {}
        for cell in CELLS.values():
            if cell.method == "GET" and cell.foreign_statuses is None and not cell.args and not cell.is_public:
                caller = self.newcomers[cell.is_api]
                response = call_endpoint(cell, caller, {"tenant": str(self.empty.id)}, [])
                pages[cell.label] = f"{response.status} {_without_noise(response.text)}"
        return pages

    def note(self, cell: Cell, column: str, status: int) -> None:
        row = self.seen.setdefault(cell.label, {})
        row[column] = f"{row[column]}/{status}" if column in row and row[column] != str(status) else str(status)

    def table(self) -> str:
        lines = [f"{'':62} {'needs':10}" + "".join(f"{column:>12}" for column in COLUMNS)]
        for label, row in self.seen.items():
            lines.append(f"{label:62} {CELLS[label].needs:10}" + "".join(f"{row.get(c, '-'):>12}" for c in COLUMNS))
        return "\n".join(lines)


@pytest.fixture(scope="module")
def world(database: None) -> Iterator[World]:
    logging.disable(logging.WARNING)  # each refusal would log a traceback
    try:
        with override_settings(CELERY_TASK_DEFAULT_QUEUE="no-worker", LEDGER_EXPORT_KEYS={"test": b"k" * 32}):
            made = World()
            yield made
    finally:
        logging.disable(logging.NOTSET)
    print("\n" + made.table())
    if os.environ.get("ACCESS_MATRIX_FILE"):
        Path(os.environ["ACCESS_MATRIX_FILE"]).write_text(made.table() + "\n", encoding="utf-8")


# -- Completeness of the table ---------------------------------------------------------------------------------------


def test_every_method_of_every_url_has_an_expectation() -> None:
    expected: dict[str, set[str]] = {}
    for cell in CELLS.values():
        expected.setdefault(cell.name, set()).add(cell.method)
    found = endpoints()
    assert sorted(found.keys() - expected.keys()) == [], "addresses without an expectation"
    assert sorted(expected.keys() - found.keys()) == [], "expectations of what is not there"
    assert {name: found[name] for name in found if found[name] != expected[name]} == {}


def test_every_action_of_every_list_has_an_expectation() -> None:
    for model, model_admin in admin.site._registry.items():
        actions = {name for name in model_admin.actions or () if isinstance(name, str)}
        label = f"POST admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        assert {name for name in actions if f"{label} [{name}]" not in CELLS} == set()


# -- Roles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", CELLS)
def test_roles(world: World, label: str) -> None:
    cell = CELLS[label]
    for caller in world.callers(cell):
        is_admitted = cell.admits(caller.role)
        is_change = cell.writes and is_admitted
        response = world.call(
            cell, caller, follow=cell.writes and not cell.is_api and not is_admitted, exact=not is_change
        )
        world.note(cell, caller.role, response.status)
        if is_admitted:
            assert_admitted(world, cell, caller, response)
        else:
            assert_refused(cell, caller, response)
    assert_strangers_are_refused(world, cell)


def assert_admitted(world: World, cell: Cell, caller: Caller, response: CallResult) -> None:
    shown = f"{caller}: {response.status} {response.text[:600]}"
    if cell.statuses:
        assert response.status in cell.statuses, shown
    else:
        assert response.status not in (401, 403, 404, 405), shown
        assert response.status < 500, shown
    assert "PERMISSION_DENIED" not in response.text, shown
    assert ("refused", "PERMISSION_DENIED") not in response.commands, shown
    assert not _is_login(response), shown
    if not cell.writes:
        assert (response.changed, response.commands) == (frozenset(), ()), shown
    if cell.is_recorded:
        assert response.commands, shown
    if cell.shows:
        assert texts_in_response(world, HOME, cell, response.text), shown


def assert_refused(cell: Cell, caller: Caller, response: CallResult) -> None:
    shown = f"{caller}: {response.status} {response.changed} {response.commands} {response.text[:600]}"
    assert HOME not in response.text or not cell.is_api, shown
    assert response.changed == frozenset(), shown
    if cell.is_api:
        assert response.status == 403, shown
        assert '"PERMISSION_DENIED"' in response.text, shown
    else:
        assert response.status in cell.denied_statuses or "PERMISSION_DENIED" in response.text, shown
    if cell.is_recorded:
        assert set(response.commands) == {("refused", "PERMISSION_DENIED")}, shown
    else:
        assert response.commands == (), shown


def assert_strangers_are_refused(world: World, cell: Cell) -> None:
    """Check callers without a session, and a user who is not a member of any tenant."""
    for column, caller in (("anonymous", world.anonymous), ("no tenant", world.stranger)):
        response = world.call(cell, caller)
        world.note(cell, column, response.status)
        shown = f"{column}: {response.status} {response.text[:300]}"
        assert response.changed == frozenset(), shown
        if cell.is_public:
            assert response.status in (cell.statuses or (200, 302)), shown
            continue
        assert HOME not in response.text, shown
        if cell.is_api:
            assert response.status == (401 if caller is world.anonymous else 403), shown
            code = "NOT_AUTHENTICATED" if caller is world.anonymous else "PERMISSION_DENIED"
            assert f'"{code}"' in response.text, shown
        else:
            is_of_session = cell.name in (
                "admin:logout",
                "admin:login",
            )  # without a session they lead to the first page
            assert _is_login(response) or (is_of_session and response.redirect == reverse("admin:index")), shown


def bodies() -> list[str]:
    """Return one cell for each API request with a body: the cell with the lowest role. A broken body names no cell."""
    found: dict[Any, Cell] = {}
    for cell in CELLS.values():
        key = (cell.name, cell.method, cell.args)
        has_body = cell.is_api and cell.body and cell.method != "DELETE"
        if has_body and (key not in found or not found[key].admits(cell.needs)):
            found[key] = cell
    return [cell.label for cell in found.values()]


def test_changes_are_detected(world: World) -> None:
    """Prove that the check for unchanged rows can fail."""
    wanted = {
        "DELETE api:event-type": "workflow_event_types",
        "PUT api:redaction-rules": "tenants",
        "POST api:task-claim": "workflow_tasks",
        "POST api:events": "workflow_runtime_events",
    }
    for label, table in wanted.items():
        assert table in world.call(CELLS[label], world.own.users[Role.ADMIN]).changed, label


@pytest.mark.parametrize("label", bodies())
def test_permission_is_checked_before_the_body(world: World, label: str) -> None:
    cell = CELLS[label]
    for body in (BROKEN, b"[1]"):
        for caller in world.own.api_clients.values():
            if not cell.admits(caller.role):
                assert_refused(cell, caller, world.call(cell, caller, body=body))
        if cell.foreign_statuses == {404} and cell.args:
            assert world.call_with_foreign_ids(cell, world.own.api_clients[Role.ADMIN], body=body).status == 404


# -- Another tenant --------------------------------------------------------------------------------------------------


@pytest.fixture
def without_row_level_security(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every statement see the rows of all tenants. Row-level security would hide a missing tenant filter."""
    prefix = tenancy._prefix
    monkeypatch.setattr(tenancy, "_prefix", lambda scope: prefix(replace(scope, is_system=True)))


@pytest.mark.usefixtures("without_row_level_security")
def test_row_level_security_is_off_in_these_tests(world: World) -> None:
    with tenancy.tenant_scope(world.own.tenant.id):
        assert Run.objects.filter(tenant_id=world.other.tenant.id).exists()


foreign = pytest.mark.usefixtures("without_row_level_security")


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.foreign_statuses])
def test_rows_of_another_tenant_are_not_found(world: World, label: str) -> None:
    cell = CELLS[label]
    callers = [world.own.users[Role.ADMIN], *([world.own.api_clients[Role.ADMIN]] if cell.is_api else [])]
    for caller in callers:
        response = world.call_with_foreign_ids(cell, caller, follow=True)
        world.note(cell, "foreign", response.status)
        shown = f"{caller}: {response.status} {response.text[:600]}"
        is_sent_home = response.status == 302 and response.final_address == reverse("admin:index")
        assert (
            is_sent_home or response.status in cell.foreign_statuses or response.final_status in cell.foreign_statuses
        ), shown
        if cell.foreign_statuses == {404}:
            assert response.changed == frozenset(), shown
            assert all(code.endswith("_NOT_FOUND") for _, code in response.commands), shown
        assert texts_in_response(world, FOREIGN, cell, response.text) == [], shown
    if cell.foreign_statuses == {404} and cell.method == "GET" and not cell.is_api:
        # A superuser also sees one tenant at a time. The tenant switcher shows the names of the others.
        response = world.call_with_foreign_ids(cell, world.own.users[SUPERUSER], follow=True)
        assert response.final_address == reverse("admin:index") or response.final_status == 404, response


def texts_in_response(world: World, mark: str, cell: Cell, text: str) -> list[str]:
    """Return the texts of a tenant in a response, except those that the call itself contained."""
    ids = (world.own if mark == HOME else world.other).ids
    sent = cell.address(ids) + str(cell.body(ids) if cell.body else "")
    return [known for known in world.texts[mark] if known in text and known not in sent]


SEARCH_TERMS = (
    "run",
    "event",
    "event_id",
    "correlation_key",
    "definition_key",
    "event_type_name",
    "workflow_id",
    "member",
)


def with_query(cell: Cell, **query: str) -> Cell:
    return replace(cell, query=lambda ids: query)


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_api_list])
def test_api_filters_find_no_rows_of_another_tenant(world: World, label: str) -> None:
    cell, caller = CELLS[label], world.own.api_clients[Role.ADMIN]
    filters = getattr(resolve(cell.address({})).func.cls, "filterset_class", None)  # type: ignore[attr-defined]
    for name in filters.base_filters if filters else ():
        for value in (world.other.ids[term] for term in SEARCH_TERMS):
            response = world.call(with_query(cell, **{name: value}), caller)
            assert response.status == 400 or (response.status, '"results":[]' in response.text) == (200, True), response


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_admin_list])
def test_searches_and_filters_of_lists_find_no_rows_of_another_tenant(world: World, label: str) -> None:
    cell, caller = CELLS[label], world.own.users[Role.ADMIN]
    page = caller.as_new().get(cell.address({}))
    changelist = page.context.get("cl")
    if changelist is None:  # a list of its own, with a form
        filters = re.findall(r'<(?:input|select)[^>]*\sname="(\w+)"', page.content.decode())
    else:
        filters = [name for spec in changelist.filter_specs for name in spec.expected_parameters()]
        filters += ["q"] if changelist.search_fields else []
    ids = world.other.ids
    queries = [("tenant", ids["tenant"]), ("run__tenant", ids["tenant"])]
    queries += [("q", ids[term]) for term in SEARCH_TERMS[:6] if "q" in filters]
    for name in (name for name in filters if name != "q" and not re.search(r"_(from|to)(_\d)?$", name)):
        queries += [(name, ids["definition_key"]), (name, ids["event_type_name"])]
    for name, value in queries:
        response = world.call(with_query(cell, **{name: value}), caller)
        assert response.status in (200, 302, 400), response
        assert [text for text in world.texts[FOREIGN] if text in response.text and text not in value] == [], (
            name,
            value,
        )
        assert name != "q" or "result_list" not in response.text, value


@foreign
def test_autocomplete_finds_no_rows_of_another_tenant(world: World) -> None:
    models = apps.get_app_config("workflows").get_models()
    fields = {
        field.related_model: (model._meta.model_name, field.name)
        for model in models
        for field in model._meta.concrete_fields
        if field.related_model
    }
    seen = set()
    for related, (model_name, field_name) in fields.items():
        of = {"app_label": "workflows", "model_name": str(model_name), "field_name": field_name}
        for term in ("", world.other.ids["correlation_key"], world.other.ids["definition_key"]):
            cell = with_query(CELLS["GET admin:autocomplete"], **of, term=term)
            response = world.call(cell, world.own.users[Role.ADMIN])
            assert response.status in (200, 403, 404), (of, response)
            assert [text for text in world.texts[FOREIGN] if text in response.text] == [], (of, response)
            seen.add((related, response.status))
    assert (User, 403) in seen
    assert (Run, 200) in seen


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_api and cell.method == "GET"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_browsable_api_shows_nothing_more(world: World, label: str, method: str) -> None:
    """Request the API as a browser does. The response then has forms and descriptions."""
    cell = CELLS[label]
    if method == "GET" and cell.is_public:
        return  # the OpenAPI document, and a page that is not part of the browsable API
    request, sent = replace(cell, method=method), {"Accept": "text/html"} if method == "GET" else {}
    viewer, administrator = world.own.users[Role.VIEWER], world.own.users[Role.ADMIN]
    response = world.call(request, viewer, headers=sent)
    good = {200} if cell.admits(Role.VIEWER) else {403}
    assert response.status in good or (method == "OPTIONS" and response.status in (200, 405)), response
    assert (response.changed, response.commands) == (frozenset(), ())
    assert cell.admits(Role.VIEWER) or HOME not in response.text, response
    response = (
        world.call_with_foreign_ids(request, administrator, headers=sent)
        if cell.foreign_statuses
        else world.call(request, administrator)
    )
    assert response.status < 500, response
    assert texts_in_response(world, FOREIGN, cell, response.text) == [], response
    assert cell.is_public or world.call(request, world.anonymous, headers=sent).status == 401


@foreign
def test_pages_of_an_empty_tenant_do_not_depend_on_other_tenants(world: World) -> None:
    """Check counts, badges and filter choices: rows of other tenants must not change them."""
    after = world.empty_pages()
    assert [label for label, page in after.items() if page != world.pages_before[label]] == []
    assert len(after) > 25


NOISE = re.compile(
    r'csrfmiddlewaretoken" value="[^"]+"|"csrfToken": "[^"]+"|nonce="[^"]+"|idempotency_key" value="[^"]+"'
    r"|\d+(\.\d+)? ?(ms|s|seconds)\b|20\d\d-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?"
    # The time of the page, the version of a live page, and the state of the servers that all tenants share.
    r'|\b\d\d:\d\d:\d\d\b|data-version="[^"]+"|(?s:<section class="card" aria-labelledby="h-health">.*?</section>)'
    r'|(?s:<p class="note alarm c-red" role="alert">.*?</p>)|\d+ (min|h|d)( \d+ (min|h))?( ago)?\b'
    r"|<time [^>]*>[^<]*</time>"
)


def _without_noise(text: str) -> str:
    return NOISE.sub("", text)


def _is_login(response: CallResult) -> bool:
    return response.status == 302 and response.redirect.split("?")[0] == reverse("admin:login")
