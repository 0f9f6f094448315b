"""What the access matrix is made of: every address by Django's own resolver, callers of every role, and calls that are undone."""

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils.http import urlencode

from portal.middleware import SESSION_TENANT
from tests.support.factories import make_token
from workflows.models import ApiToken, Command, Tenant, TenantMembership
from workflows.statuses import Role

# Who may, beside the roles: everybody; Django's superusers; nobody, whatever their role.
PUBLIC, SUPERUSER, NOBODY = "public", "superuser", "nobody"
RANKS = list(Role)
LEDGER = {"workflow_commands", "workflow_command_entries"}
SESSIONS = {"django_session"}

Ids = Mapping[str, str]


# -- Addresses ---------------------------------------------------------------------------------------------------------


def endpoints() -> dict[str, set[str]]:
    """The methods of every address, by the address's name, or by its route where it has no name."""
    found: dict[str, set[str]] = {}
    for name, pattern in _patterns(get_resolver().url_patterns):
        assert name not in found, f"two addresses are called {name}"
        found[name] = _methods(pattern)
    return found


def _patterns(entries: list[Any], route: str = "", space: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in entries:
        here = route + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from _patterns(entry.url_patterns, here, inner)
        else:
            yield (space + entry.name if entry.name else here), entry


def _methods(pattern: URLPattern) -> set[str]:
    """Of an API view those that it defines; a page takes GET and POST, and says itself what it does not take."""
    view = getattr(pattern.callback, "cls", None)
    if view is None:
        return {"GET", "POST"}
    return {name.upper() for name in view.http_method_names if hasattr(view, name)} - {"OPTIONS", "HEAD"}


# -- Cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """What one method of one address asks for. `variant` tells cells of one method apart, by what they ask for."""

    name: str
    method: str
    needs: str
    args: tuple[str, ...] = ()  # names of ids
    body: Callable[[Ids], Any] | None = None
    query: Callable[[Ids], dict[str, str]] = lambda ids: {}
    variant: str = ""
    path: str = ""  # where the address cannot be made of its name
    is_recorded: bool = False  # a denied attempt is a row of the ledger
    writes: bool = True  # False: changes nothing, for nobody
    is_alone: bool = False  # opens a read-only transaction of its own, so none may be around it
    people_only: bool = False  # a program has no use for it
    answers: frozenset[int] = frozenset()  # to those who may, where a good answer is no success
    denies: frozenset[int] = frozenset({403})
    foreign: frozenset[int] | None = frozenset({404})  # with ids of another tenant; None: it takes none
    shows: bool = False  # a page or answer that shows the row that its ids name

    @property
    def label(self) -> str:
        return f"{self.method} {self.name}" + (f" [{self.variant}]" if self.variant else "")

    @property
    def is_api(self) -> bool:
        return self.name.startswith("api:")

    @property
    def is_api_list(self) -> bool:
        return self.is_api and self.method == "GET" and not self.args and not self.is_open

    @property
    def is_list_of_the_admin(self) -> bool:
        return (
            self.name.startswith("admin:workflows_")
            and self.label == f"GET {self.name}"
            and self.name.endswith("_changelist")
        )

    @property
    def is_open(self) -> bool:
        return self.needs == PUBLIC

    def admits(self, role: str) -> bool:
        if self.needs == PUBLIC:
            return True
        if self.needs in (SUPERUSER, NOBODY) or role == SUPERUSER:
            return self.needs != NOBODY and role == SUPERUSER
        return RANKS.index(Role(role)) >= RANKS.index(Role(self.needs))

    def address(self, ids: Ids) -> str:
        values = [ids[name] for name in self.args]
        if self.path:
            path = self.path
        elif "<" in self.name:
            path = "/" + re.sub(r"<[^>]+>", lambda _: values[0], self.name)
        else:
            path = reverse(self.name, args=values)
        query = self.query(ids)
        return f"{path}?{urlencode(query)}" if query else path


# -- Callers -----------------------------------------------------------------------------------------------------------


@dataclass
class Caller:
    """Somebody with a session or a token; a role of the tenant, superuser, or none of it (`role` empty)."""

    role: str
    is_program: bool
    client: Client
    actor_id: str = ""
    ids: dict[str, str] = field(default_factory=dict)  # of rows that are their own

    def __post_init__(self) -> None:
        self._cookies = copy.deepcopy(self.client.cookies)

    def as_new(self) -> Client:
        """Without what earlier answers left: messages, a session that was ended."""
        self.client.cookies = copy.deepcopy(self._cookies)
        return self.client

    def __str__(self) -> str:
        return f"{self.role or 'nobody'} by {'token' if self.is_program else 'session'}"


def nobody() -> Caller:
    return Caller("", False, Client(raise_request_exception=False))


def person(name: str, role: str, tenant: Tenant | None) -> Caller:
    """A member, a superuser who looks at the tenant, or somebody who is in none."""
    user = get_user_model().objects.create_user(name, is_superuser=role == SUPERUSER, is_staff=True)
    if tenant is not None and role != SUPERUSER:
        TenantMembership.objects.create(tenant=tenant, user=user, role=role)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    if tenant is not None:
        session = client.session
        session[SESSION_TENANT] = str(tenant.id)
        session.save()
    return Caller(role, False, client, str(user.pk))


def program(role: str, tenant: Tenant) -> Caller:
    token = make_token(tenant, Role(role))
    row = ApiToken.objects.filter(tenant=tenant).latest("created_at")
    ApiToken.objects.filter(id=row.id).update(last_used_at="2100-01-01T00:00:00Z")  # using it writes nothing
    client = Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)
    return Caller(role, True, client, str(row.id))


# -- Calls -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    text: str  # with that of the page that it leads to
    landed: int  # the status of that page
    place: str  # its address
    to: str  # where the answer itself redirects
    changed: frozenset[str]  # tables, the ledger and sessions apart
    commands: tuple[tuple[str, str], ...]  # (state, code) of the ledger's new rows


def ask(
    cell: Cell,
    caller: Caller,
    ids: Ids,
    tenants: list[Any],
    *,
    follow: bool = False,
    exact: bool = True,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Call and undo. `body` replaces the cell's own, as it is sent; `follow` looks at the page that the answer leads to.

    Not `exact`: a table counts as changed even if what was written to it was taken back within the call.
    """
    ids = {**ids, **caller.ids}
    data = body if body is not None or cell.body is None else cell.body(ids)
    if not isinstance(data, bytes) and cell.is_api:
        data = b"" if data is None else json.dumps(data).encode()
    before = row_sums(tenants) if cell.is_alone else {}
    sums: dict[str, Any] = {}
    with nullcontext() if cell.is_alone else undone():
        written = writes()
        response = _send(caller.as_new(), cell, cell.address(ids), data, headers or {})
        landed, place, text = _landing(caller.client, response, 4 if follow else 0)
        touched = {name for name, number in writes().items() if number != written.get(name, 0)} - LEDGER - SESSIONS
        if cell.is_alone or (touched and exact):
            sums = row_sums(tenants)
        rows = Command.objects.filter(actor_id=caller.actor_id) if caller.actor_id else Command.objects.none()
        commands = tuple(rows.values_list("state", "code"))
    if sums and not cell.is_alone:
        before = row_sums(tenants)  # undone, it is as it was
    changed = frozenset(name for name in sums if sums[name] != before.get(name)) if sums else frozenset(touched)
    return Answer(response.status_code, text, landed, place, response.headers.get("Location", ""), changed, commands)


def _send(client: Client, cell: Cell, address: str, data: Any, headers: Mapping[str, str]) -> Any:
    if cell.is_api:
        return client.generic(cell.method, address, data, content_type="application/json", headers=headers)
    if cell.method == "POST":
        return client.post(address, data or {})
    return client.generic(cell.method, address)


def _landing(client: Client, response: Any, steps: int) -> tuple[int, str, str]:
    """What stands in an answer, and on the pages of ours that it leads to."""
    texts, to = [_text(response)], ""
    for _ in range(steps):
        if response.status_code not in (301, 302) or not response.headers["Location"].startswith("/"):
            break
        to = response.headers["Location"]
        response = client.get(to)
        texts.append(_text(response))
    return response.status_code, to, "\n".join(texts)


def _text(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode("utf-8", "replace")) + "\n" + response.headers.get("Location", "")


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def writes() -> dict[str, int]:
    """Rows written in this transaction, by table; a difference of two looks tells, for the server counts on a little."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
            " WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"
        )
        return dict(cursor.fetchall())


def row_sums(tenants: list[Any]) -> dict[str, Any]:
    """One number for all rows of each table: those of the tenants, and of tables that belong to none. The ledger apart."""
    parts = []
    for model in apps.get_models():
        table = model._meta.db_table
        if table in LEDGER | SESSIONS or not model._meta.managed:
            continue
        columns = {f.column for f in model._meta.concrete_fields}
        where = "WHERE t.tenant_id = ANY(%s)" if "tenant_id" in columns else "WHERE %s::uuid[] IS NOT NULL"
        parts.append(
            f"SELECT '{table}', count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} t {where}"
        )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), [[tenant.id for tenant in tenants]] * len(parts))
        return {name: (number, total) for name, number, total in cursor.fetchall()}
