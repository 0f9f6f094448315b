"""Every endpoint and screen crossed with every role and with a foreign tenant (docs/reference/authority.md#control-matrix, docs/reference/administration.md#tenants-and-roles).

The addresses come from Django's resolver, what is expected of them from `tests/support/access_table.py`. An address, a method or an
action of a list without an expectation fails. With `-s` the matrix is printed; ACCESS_MATRIX_FILE names a file for it.
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
BROKEN = b"{"  # no JSON at all
COLUMNS = ("anonymous", "no tenant", *Role.values, SUPERUSER, "foreign")


class World:
    """A tenant, another, and callers; what each cell was answered, for the table."""

    def __init__(self) -> None:
        empty = make_tenant()
        self.newcomers = [user(f"newcomer-{empty.slug}", Role.ADMIN, empty), api_client(Role.ADMIN, empty)]
        self.empty = empty
        self.pages_before = self.empty_pages()
        self.own = fill_tenant(HOME)
        self.other = fill_tenant(FOREIGN)
        self.tenants = [self.own.tenant, self.other.tenant]
        self.stranger = user(f"stranger-{self.own.tenant.slug}", "", None)
        self.nobody = anonymous()
        self.texts = {HOME: identifying_texts(self.own), FOREIGN: identifying_texts(self.other)}
        self.seen: dict[str, dict[str, str]] = {}

    def callers(self, cell: Cell) -> list[Caller]:
        if cell.is_open:  # the same for all
            return [self.own.users[Role.ADMIN]]
        people = dict(self.own.users)
        if cell.needs != SUPERUSER:
            del people[SUPERUSER]
        if not cell.is_api or cell.users_only:
            return list(people.values())
        return [*self.own.api_clients.values(), people[Role.VIEWER], people[Role.ADMIN]]

    def ask(self, cell: Cell, caller: Caller, *, ids: Any = None, **more: Any) -> CallResult:
        return call_endpoint(cell, caller, ids or self.own.ids, self.tenants, **more)

    def ask_for_foreign(self, cell: Cell, caller: Caller, **more: Any) -> CallResult:
        """With the other tenant's ids in address, query and body, and nothing of the caller's own."""
        own, caller.ids = caller.ids, {}
        try:
            return self.ask(cell, caller, ids=self.other.ids, **more)
        finally:
            caller.ids = own

    def empty_pages(self) -> dict[str, str]:
        """Every page and list without a row of its own, as a member of the tenant without rows sees it."""
        pages = {}
        for cell in CELLS.values():
            if cell.method == "GET" and cell.foreign_statuses is None and not cell.args and not cell.is_open:
                caller = self.newcomers[cell.is_api]
                answer = call_endpoint(cell, caller, {"tenant": str(self.empty.id)}, [])
                pages[cell.label] = f"{answer.status} {_without_noise(answer.text)}"
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
    logging.disable(logging.WARNING)  # each refusal is a line with a traceback
    try:
        with override_settings(CELERY_TASK_DEFAULT_QUEUE="no-worker"):
            made = World()
            yield made
    finally:
        logging.disable(logging.NOTSET)
    print("\n" + made.table())
    if os.environ.get("ACCESS_MATRIX_FILE"):
        Path(os.environ["ACCESS_MATRIX_FILE"]).write_text(made.table() + "\n", encoding="utf-8")


# -- The table is whole ------------------------------------------------------------------------------------------------


def test_every_method_of_every_address_has_an_expectation() -> None:
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


# -- Roles -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", CELLS)
def test_who_may(world: World, label: str) -> None:
    cell = CELLS[label]
    for caller in world.callers(cell):
        is_admitted = cell.admits(caller.role)
        is_change = cell.writes and is_admitted
        answer = world.ask(
            cell, caller, follow=cell.writes and not cell.is_api and not is_admitted, exact=not is_change
        )
        world.note(cell, caller.role, answer.status)
        if is_admitted:
            assert_admitted(world, cell, caller, answer)
        else:
            assert_refused(cell, caller, answer)
    assert_strangers_are_refused(world, cell)


def assert_admitted(world: World, cell: Cell, caller: Caller, answer: CallResult) -> None:
    told = f"{caller}: {answer.status} {answer.text[:600]}"
    if cell.statuses:
        assert answer.status in cell.statuses, told
    else:
        assert answer.status not in (401, 403, 404, 405), told
        assert answer.status < 500, told
    assert "PERMISSION_DENIED" not in answer.text, told
    assert ("refused", "PERMISSION_DENIED") not in answer.commands, told
    assert not _is_login(answer), told
    if not cell.writes:
        assert (answer.changed, answer.commands) == (frozenset(), ()), told
    if cell.is_recorded:
        assert answer.commands, told
    if cell.shows:
        assert found(world, HOME, cell, answer.text), told


def assert_refused(cell: Cell, caller: Caller, answer: CallResult) -> None:
    told = f"{caller}: {answer.status} {answer.changed} {answer.commands} {answer.text[:600]}"
    assert HOME not in answer.text or not cell.is_api, told
    assert answer.changed == frozenset(), told
    if cell.is_api:
        assert answer.status == 403, told
        assert '"PERMISSION_DENIED"' in answer.text, told
    else:
        assert answer.status in cell.denied_statuses or "PERMISSION_DENIED" in answer.text, told
    if cell.is_recorded:
        assert set(answer.commands) == {("refused", "PERMISSION_DENIED")}, told
    else:
        assert answer.commands == (), told


def assert_strangers_are_refused(world: World, cell: Cell) -> None:
    """Without a session, and with one but in no tenant."""
    for column, caller in (("anonymous", world.nobody), ("no tenant", world.stranger)):
        answer = world.ask(cell, caller)
        world.note(cell, column, answer.status)
        told = f"{column}: {answer.status} {answer.text[:300]}"
        assert answer.changed == frozenset(), told
        if cell.is_open:
            assert answer.status in (cell.statuses or (200, 302)), told
            continue
        assert HOME not in answer.text, told
        if cell.is_api:
            assert answer.status == (401 if caller is world.nobody else 403), told
            code = "NOT_AUTHENTICATED" if caller is world.nobody else "PERMISSION_DENIED"
            assert f'"{code}"' in answer.text, told
        else:
            is_of_session = cell.name in ("admin:logout", "admin:login")  # there is none; it leads to the first page
            assert _is_login(answer) or (is_of_session and answer.redirect == reverse("admin:index")), told


def bodies() -> list[str]:
    """Of each request to the API that has a body, the cell that asks for the least: a broken body does not say for what."""
    found: dict[Any, Cell] = {}
    for cell in CELLS.values():
        key = (cell.name, cell.method, cell.args)
        is_asked = cell.is_api and cell.body and cell.method != "DELETE"
        if is_asked and (key not in found or not found[key].admits(cell.needs)):
            found[key] = cell
    return [cell.label for cell in found.values()]


def test_what_is_written_is_seen(world: World) -> None:
    """That nothing was changed is worth something only if a change shows."""
    wanted = {
        "DELETE api:event-type": "workflow_event_types",
        "PUT api:redaction-rules": "tenants",
        "POST api:task-claim": "workflow_tasks",
        "POST api:events": "workflow_runtime_events",
    }
    for label, table in wanted.items():
        assert table in world.ask(CELLS[label], world.own.users[Role.ADMIN]).changed, label


@pytest.mark.parametrize("label", bodies())
def test_a_role_counts_before_what_is_wrong_with_a_body(world: World, label: str) -> None:
    cell = CELLS[label]
    for body in (BROKEN, b"[1]"):
        for caller in world.own.api_clients.values():
            if not cell.admits(caller.role):
                assert_refused(cell, caller, world.ask(cell, caller, body=body))
        if cell.foreign_statuses == {404} and cell.args:
            assert world.ask_for_foreign(cell, world.own.api_clients[Role.ADMIN], body=body).status == 404


# -- Another tenant ----------------------------------------------------------------------------------------------------


@pytest.fixture
def no_second_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row-level security would hide a query that forgot its tenant: here every statement may see the rows of all."""
    prefix = tenancy._prefix
    monkeypatch.setattr(tenancy, "_prefix", lambda scope: prefix(replace(scope, is_system=True)))


@pytest.mark.usefixtures("no_second_guard")
def test_the_second_guard_is_off_here(world: World) -> None:
    with tenancy.tenant_scope(world.own.tenant.id):
        assert Run.objects.filter(tenant_id=world.other.tenant.id).exists()


foreign = pytest.mark.usefixtures("no_second_guard")


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.foreign_statuses])
def test_another_tenants_rows_are_not_there(world: World, label: str) -> None:
    cell = CELLS[label]
    callers = [world.own.users[Role.ADMIN], *([world.own.api_clients[Role.ADMIN]] if cell.is_api else [])]
    for caller in callers:
        answer = world.ask_for_foreign(cell, caller, follow=True)
        world.note(cell, "foreign", answer.status)
        told = f"{caller}: {answer.status} {answer.text[:600]}"
        is_sent_home = answer.status == 302 and answer.final_address == reverse("admin:index")
        assert is_sent_home or answer.status in cell.foreign_statuses or answer.final_status in cell.foreign_statuses, (
            told
        )
        if cell.foreign_statuses == {404}:
            assert answer.changed == frozenset(), told
            assert all(code.endswith("_NOT_FOUND") for _, code in answer.commands), told
        assert found(world, FOREIGN, cell, answer.text) == [], told
    if cell.foreign_statuses == {404} and cell.method == "GET" and not cell.is_api:
        # A superuser too sees one tenant at a time. The switcher names the others.
        answer = world.ask_for_foreign(cell, world.own.users[SUPERUSER], follow=True)
        assert answer.final_address == reverse("admin:index") or answer.final_status == 404, answer


def found(world: World, mark: str, cell: Cell, text: str) -> list[str]:
    """Texts of a tenant that stand in an answer, those apart that the call itself named."""
    ids = (world.own if mark == HOME else world.other).ids
    sent = cell.address(ids) + str(cell.body(ids) if cell.body else "")
    return [known for known in world.texts[mark] if known in text and known not in sent]


HEARD = ("run", "event", "event_id", "correlation_key", "definition_key", "event_type_name", "workflow_id", "member")


def asking(cell: Cell, **query: str) -> Cell:
    return replace(cell, query=lambda ids: query)


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_api_list])
def test_no_filter_of_the_api_finds_another_tenants_rows(world: World, label: str) -> None:
    cell, caller = CELLS[label], world.own.api_clients[Role.ADMIN]
    filters = getattr(resolve(cell.address({})).func.cls, "filterset_class", None)  # type: ignore[attr-defined]
    for name in filters.base_filters if filters else ():
        for value in (world.other.ids[heard] for heard in HEARD):
            answer = world.ask(asking(cell, **{name: value}), caller)
            assert answer.status == 400 or (answer.status, '"results":[]' in answer.text) == (200, True), answer


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_list_of_the_admin])
def test_no_search_and_no_filter_of_a_list_finds_another_tenants_rows(world: World, label: str) -> None:
    cell, caller = CELLS[label], world.own.users[Role.ADMIN]
    page = caller.as_new().get(cell.address({}))
    filters = [name for spec in page.context["cl"].filter_specs for name in spec.expected_parameters()]
    ids = world.other.ids
    asked = [("tenant", ids["tenant"]), ("run__tenant", ids["tenant"])]
    asked += [("q", ids[heard]) for heard in HEARD[:6] if page.context["cl"].search_fields]
    for name in (name for name in filters if not re.search(r"_(from|to)(_\d)?$", name)):
        asked += [(name, ids["definition_key"]), (name, ids["event_type_name"])]
    for name, value in asked:
        answer = world.ask(asking(cell, **{name: value}), caller)
        assert answer.status in (200, 302, 400), answer
        assert [text for text in world.texts[FOREIGN] if text in answer.text and text not in value] == [], (name, value)
        assert name != "q" or "result_list" not in answer.text, value


@foreign
def test_no_autocomplete_finds_another_tenants_rows(world: World) -> None:
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
            cell = asking(CELLS["GET admin:autocomplete"], **of, term=term)
            answer = world.ask(cell, world.own.users[Role.ADMIN])
            assert answer.status in (200, 403, 404), (of, answer)
            assert [text for text in world.texts[FOREIGN] if text in answer.text] == [], (of, answer)
            seen.add((related, answer.status))
    assert (User, 403) in seen
    assert (Run, 200) in seen


@foreign
@pytest.mark.parametrize("label", [label for label, cell in CELLS.items() if cell.is_api and cell.method == "GET"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_the_browsable_api_shows_no_more(world: World, label: str, method: str) -> None:
    """As a browser asks for it, with forms and descriptions of what can be asked."""
    cell = CELLS[label]
    if method == "GET" and cell.is_open:
        return  # a description for programs, and a page that is no part of it
    asked, sent = replace(cell, method=method), {"Accept": "text/html"} if method == "GET" else {}
    viewer, administrator = world.own.users[Role.VIEWER], world.own.users[Role.ADMIN]
    answer = world.ask(asked, viewer, headers=sent)
    good = {200} if cell.admits(Role.VIEWER) else {403}
    assert answer.status in good or (method == "OPTIONS" and answer.status in (200, 405)), answer
    assert (answer.changed, answer.commands) == (frozenset(), ())
    assert cell.admits(Role.VIEWER) or HOME not in answer.text, answer
    answer = (
        world.ask_for_foreign(asked, administrator, headers=sent)
        if cell.foreign_statuses
        else world.ask(asked, administrator)
    )
    assert answer.status < 500, answer
    assert found(world, FOREIGN, cell, answer.text) == [], answer
    assert cell.is_open or world.ask(asked, world.nobody, headers=sent).status == 401


@foreign
def test_what_others_have_changes_no_page_of_a_tenant(world: World) -> None:
    """Counts, badges, choices of filters: the pages of a tenant without rows are as before there were others."""
    after = world.empty_pages()
    assert [label for label, page in after.items() if page != world.pages_before[label]] == []
    assert len(after) > 25


NOISE = re.compile(
    r'csrfmiddlewaretoken" value="[^"]+"|"csrfToken": "[^"]+"|nonce="[^"]+"|\d+(\.\d+)? ?(ms|s|seconds)\b|20\d\d-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?'
)


def _without_noise(text: str) -> str:
    return NOISE.sub("", text)


def _is_login(answer: CallResult) -> bool:
    return answer.status == 302 and answer.redirect.split("?")[0] == reverse("admin:login")
