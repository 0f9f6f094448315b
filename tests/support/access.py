"""Access matrix: all endpoints from Django's resolver, callers of every role, and calls that are rolled back."""

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import connections, router, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils.http import urlencode

from portal.database_router import SIGNIN
from portal.middleware import SESSION_TENANT
from tests.support.factories import make_token
from workflows.models import ApiToken, Command, Tenant, TenantMembership
from workflows.statuses import Role

# Values of `Cell.needs` beside the roles. PUBLIC: no sign-in. SUPERUSER: Django's superusers only. NOBODY: no caller.
PUBLIC, SUPERUSER, NOBODY = "public", "superuser", "nobody"
RANKS = list(Role)
LEDGER = {"workflow_commands", "workflow_command_entries"}
SESSIONS = {"django_session", "sign_in_records"}

Ids = Mapping[str, str]


# -- Endpoints ---------------------------------------------------------------------------------------------------------


def endpoints() -> dict[str, set[str]]:
    """Return the methods of every endpoint, by URL name, or by route for an endpoint without a name."""
    found: dict[str, set[str]] = {}
    for name, pattern in _patterns(get_resolver().url_patterns):
        assert name not in found, f"two endpoints have the name {name}"
        found[name] = _methods(pattern)
    return found


def url_patterns() -> dict[str, URLPattern]:
    """Return the URL pattern of every endpoint, by its name."""
    return dict(_patterns(get_resolver().url_patterns))


def _patterns(entries: list[Any], route: str = "", space: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in entries:
        here = route + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from _patterns(entry.url_patterns, here, inner)
        else:
            yield (space + entry.name if entry.name else here), entry


def _methods(pattern: URLPattern) -> set[str]:
    """Return the methods of an API view, or GET and POST for a page, because a page refuses methods itself."""
    view = getattr(pattern.callback, "cls", None)
    if view is None:
        return {"GET", "POST"}
    return {name.upper() for name in view.http_method_names if hasattr(view, name)} - {"OPTIONS", "HEAD"}


# -- Cells -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Expected access to one method of an endpoint. `variant` distinguishes requests to the same method."""

    name: str
    method: str
    needs: str
    args: tuple[str, ...] = ()  # names of ids
    body: Callable[[Ids], Any] | None = None
    query: Callable[[Ids], dict[str, str]] = lambda ids: {}
    variant: str = ""
    path: str = ""  # for endpoints that `reverse` cannot build
    is_recorded: bool = False  # a denied request is recorded in the ledger
    writes: bool = True  # False: the request changes nothing for any caller
    is_alone: bool = False  # the request opens a read-only transaction, so no transaction may surround it
    users_only: bool = False  # no sense for API tokens
    statuses: frozenset[int] = frozenset()  # of responses to allowed callers; empty: any status of success
    denied_statuses: frozenset[int] = frozenset({403})
    foreign_statuses: frozenset[int] | None = frozenset({404})  # with ids of another tenant; None: takes no ids
    shows: bool = False  # the response shows the row that its ids name

    @property
    def label(self) -> str:
        return f"{self.method} {self.name}" + (f" [{self.variant}]" if self.variant else "")

    @property
    def is_api(self) -> bool:
        return self.name.startswith("api:")

    @property
    def is_api_list(self) -> bool:
        return self.is_api and self.method == "GET" and not self.args and not self.is_public

    @property
    def is_admin_list(self) -> bool:
        return (
            self.name.startswith("admin:workflows_")
            and self.needs != SUPERUSER
            and self.label == f"GET {self.name}"
            and self.name.endswith("_changelist")
        )

    @property
    def is_public(self) -> bool:
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
    """Caller with a session or a token. `role` is a tenant role, SUPERUSER, or empty without a tenant."""

    role: str
    uses_token: bool
    client: Client
    actor_id: str = ""
    ids: dict[str, str] = field(default_factory=dict)  # ids of rows that belong to this caller

    def __post_init__(self) -> None:
        self._cookies = copy.deepcopy(self.client.cookies)

    def as_new(self) -> Client:
        """Return the client without the messages and session changes of earlier calls."""
        self.client.cookies = copy.deepcopy(self._cookies)
        return self.client

    def __str__(self) -> str:
        return f"{self.role or 'no role'} by {'token' if self.uses_token else 'session'}"


def anonymous() -> Caller:
    return Caller("", False, Client(raise_request_exception=False))


def user(name: str, role: str, tenant: Tenant | None) -> Caller:
    """Return a tenant member, a superuser who has chosen the tenant, or a user without a tenant."""
    account = get_user_model().objects.create_user(name, is_superuser=role == SUPERUSER, is_staff=True)
    if tenant is not None and role != SUPERUSER:
        TenantMembership.objects.create(tenant=tenant, user=account, role=role)
    client = Client(raise_request_exception=False)
    client.force_login(account)
    if tenant is not None:
        session = client.session
        session[SESSION_TENANT] = str(tenant.id)
        session.save()
    return Caller(role, False, client, str(account.pk))


def api_client(role: str, tenant: Tenant) -> Caller:
    token = make_token(tenant, Role(role))
    row = ApiToken.objects.filter(tenant=tenant).latest("created_at")
    # A recent time of use is not written again, so that calls with this token change no row.
    ApiToken.objects.filter(id=row.id).update(last_used_at="2100-01-01T00:00:00Z")
    client = Client(headers={"Authorization": f"Bearer {token}"}, raise_request_exception=False)
    return Caller(role, True, client, str(row.id))


# -- Calls -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CallResult:
    status: int
    text: str  # of the response, and of the pages that it redirects to
    final_status: int  # of the last of these pages
    final_address: str
    redirect: str  # address that the response itself redirects to
    changed: frozenset[str]  # tables with changes, except the ledger and the sessions
    commands: tuple[tuple[str, str], ...]  # (state, code) of the caller's rows in the ledger


def call_endpoint(
    cell: Cell,
    caller: Caller,
    ids: Ids,
    tenants: list[Any],
    *,
    follow: bool = False,
    exact: bool = True,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> CallResult:
    """Send the request of a cell and roll back its changes.

    - `body` replaces the body of the cell.
    - `follow`: follow redirects to pages of the portal.
    - `exact=False`: a table counts as changed even if the request itself undid its changes.
    """
    ids = {**ids, **caller.ids}
    data = body if body is not None or cell.body is None else cell.body(ids)
    if not isinstance(data, bytes) and cell.is_api:
        data = b"" if data is None else json.dumps(data).encode()
    before = row_sums(tenants) if cell.is_alone else {}
    sums: dict[str, Any] = {}
    with nullcontext() if cell.is_alone else rolled_back():
        written = written_rows()
        response = _send(caller.as_new(), cell, cell.address(ids), data, headers or {})
        final_status, final_address, text = _follow(caller.client, response, 4 if follow else 0)
        counts = written_rows().items()
        touched = {name for name, number in counts if number != written.get(name, 0)} - LEDGER - SESSIONS
        if cell.is_alone or (touched and exact):
            sums = row_sums(tenants)
        rows = Command.objects.filter(actor_id=caller.actor_id) if caller.actor_id else Command.objects.none()
        commands = tuple(rows.values_list("state", "code"))
    if sums and not cell.is_alone:
        before = row_sums(tenants)  # the rollback has restored the state before the call
    changed = frozenset(name for name in sums if sums[name] != before.get(name)) if sums else frozenset(touched)
    redirect = response.headers.get("Location", "")
    return CallResult(response.status_code, text, final_status, final_address, redirect, changed, commands)


def _send(client: Client, cell: Cell, address: str, data: Any, headers: Mapping[str, str]) -> Any:
    if cell.is_api:
        return client.generic(cell.method, address, data, content_type="application/json", headers=headers)
    if cell.method == "POST":
        return client.post(address, data or {})
    return client.generic(cell.method, address)


def _follow(client: Client, response: Any, steps: int) -> tuple[int, str, str]:
    """Follow redirects inside the portal. Return status and address of the last page, and the text of all pages."""
    texts, address = [_text(response)], ""
    for _ in range(steps):
        if response.status_code not in (301, 302) or not response.headers["Location"].startswith("/"):
            break
        address = response.headers["Location"]
        response = client.get(address)
        texts.append(_text(response))
    return response.status_code, address, "\n".join(texts)


def _text(response: Any) -> str:
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return str(content.decode("utf-8", "replace")) + "\n" + response.headers.get("Location", "")


@contextmanager
def rolled_back() -> Iterator[None]:
    """Roll the block back on every connection of the web process."""
    with transaction.atomic(), transaction.atomic(using=SIGNIN):
        yield
        transaction.set_rollback(True)
        transaction.set_rollback(True, using=SIGNIN)


def written_rows() -> dict[str, int]:
    """Return the number of rows written in these transactions, by table.

    Use only differences of two calls, because the counts of the server contain earlier writes too.
    """
    written: Counter[str] = Counter()
    for alias in ("default", SIGNIN):
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
                " WHERE n_tup_ins + n_tup_upd + n_tup_del > 0"
            )
            written.update(dict(cursor.fetchall()))
    return dict(written)


def row_sums(tenants: list[Any]) -> dict[str, Any]:
    """Return row count and checksum of each table, without the ledger and the sessions.

    Of a tenant table, only the rows of the given tenants count.
    """
    parts: dict[str, list[str]] = {}
    for model in apps.get_models():
        table = model._meta.db_table
        if table in LEDGER | SESSIONS or not model._meta.managed:
            continue
        columns = {f.column for f in model._meta.concrete_fields}
        where = "WHERE t.tenant_id = ANY(%s)" if "tenant_id" in columns else "WHERE %s::uuid[] IS NOT NULL"
        parts.setdefault(router.db_for_read(model), []).append(
            f"SELECT '{table}', count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
            f" FROM {table} t {where}"
        )
    sums = {}
    for alias, of_alias in parts.items():
        with connections[alias].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(of_alias), [[tenant.id for tenant in tenants]] * len(of_alias))
            sums |= {name: (number, total) for name, number, total in cursor.fetchall()}
    return sums
