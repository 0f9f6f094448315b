"""Scopes of API tokens: a matrix of scope by endpoint, and rate limits (docs/reference/api.md#scopes)."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.support.access import endpoints, url_patterns
from tests.support.api import Api, error_of
from tests.support.factories import make_run, make_token
from workflows.api.scopes import READING, needed_scope
from workflows.services import rate_limits
from workflows.services.tokens import token_issue
from workflows.statuses import Role
from workflows.token_scopes import AREAS, SCOPES

ID = "00000000-0000-7000-8000-000000000001"
WITHOUT_SCOPE = {"api:schema", "api:docs"}


def api_endpoints() -> list[tuple[str, str]]:
    named = ((name, method) for name, methods in endpoints().items() for method in sorted(methods))
    return [(name, method) for name, method in named if name.startswith("api:") and name not in WITHOUT_SCOPE]


def address(name: str) -> str:
    route = str(url_patterns()[name].pattern)
    return "/" + re.sub(r"<(\w+:)?\w+>", lambda found: {"uuid:": ID, "int:": "1"}.get(found[1] or "", "x"), route)


def token_with(tenant: Any, *scopes: str, **more: Any) -> Api:
    return Api(token_issue(tenant_id=tenant.id, name="t", role=Role.ADMIN, scopes=list(scopes), **more)[1])


def test_matrix_of_scope_by_endpoint(tenant: Any) -> None:
    """Each endpoint is refused for a token with all other scopes, and not refused for its own scope."""
    others = {scope: token_with(tenant, *(set(SCOPES) - {scope})) for scope in SCOPES}
    own = {scope: token_with(tenant, scope) for scope in SCOPES}
    used = set()
    for name, method in api_endpoints():
        path = address(name)
        scope = needed_scope(route=f"api/v1{path}", name=name.removeprefix("api:"), method=method)
        used.add(scope)
        data = "" if method == "GET" else "{}"
        refused = others[scope].client.generic(method, f"/api/v1{path}", data, "application/json")
        error = error_of(refused, 403)
        assert (error["code"], error["details"]["needed"]) == ("SCOPE_MISSING", scope), (name, method)
        allowed = own[scope].client.generic(method, f"/api/v1{path}", data, "application/json")
        assert b"SCOPE_MISSING" not in allowed.content, (name, method, allowed.content)
    assert used == set(SCOPES)


def test_every_area_and_every_reading_address_exists() -> None:
    first = {address(name).split("/")[1] for name, _ in api_endpoints()}
    assert first <= set(AREAS)
    assert {f"api:{name}" for name in READING} <= {name for name, method in api_endpoints() if method == "POST"}


def test_docs_list_every_scope_with_its_addresses() -> None:
    text = Path("docs/reference/api.md").read_text().split("### Scopes")[1].split("### ")[0]
    for segment, area in AREAS.items():
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{segment}`" in line)
        assert f"`{area}:read`" in row, segment


def test_openapi_names_the_scope_of_each_operation(database: None) -> None:
    paths = Client().get("/api/v1/schema", headers={"Accept": "application/json"}).json()["paths"]
    described = {
        (re.sub(r"{\w+}", "{}", path), method.upper()): operation["x-required-scope"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    routes = {name: str(pattern.pattern) for name, pattern in url_patterns().items() if name.startswith("api:")}
    assert described == {
        ("/api/v1/" + re.sub(r"<[^>]+>", "{}", routes[name]), method): needed_scope(
            route=f"api/v1{address(name)}", name=name.removeprefix("api:"), method=method
        )
        for name, method in api_endpoints()
    }
    assert "A token with scopes needs `runs:write`." in paths["/api/v1/runs/{id}/cancel"]["post"]["description"]


def test_token_without_scopes_may_do_what_its_role_may_do(tenant: Any) -> None:
    assert Api(make_token(tenant, Role.VIEWER)).get("/runs").status_code == 200


def test_comparison_reads_and_its_repair_writes(tenant: Any) -> None:
    run = make_run(tenant)
    reader = token_with(tenant, "runs:read")
    error = error_of(reader.post(f"/runs/{run.id}/verify", {"repair": True}), 403)
    assert (error["code"], error["details"]["needed"]) == ("SCOPE_MISSING", "runs:write")


def test_requests_above_the_limit_are_refused_until_the_window_moves(tenant: Any) -> None:
    api = token_with(tenant, rate_limit_per_minute=3)
    assert [api.get("/runs").status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = api.get("/runs")
    error = error_of(refused, 429)
    assert (error["code"], "3 requests per minute" in error["message"]) == ("TOO_MANY_REQUESTS", True)
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert token_with(tenant, rate_limit_per_minute=3).get("/runs").status_code == 200  # counted for each token


def test_requests_that_are_refused_for_their_scope_count(tenant: Any) -> None:
    api = token_with(tenant, "runs:read", rate_limit_per_minute=2)
    assert [api.get(path).status_code for path in ("/events", "/events", "/events", "/runs")] == [403, 403, 429, 429]


def test_setting_limits_tokens_without_a_limit_of_their_own(tenant: Any, settings: Any) -> None:
    settings.API_RATE_LIMIT_PER_MINUTE = 1
    api = token_with(tenant)
    assert [api.get("/runs").status_code for _ in range(2)] == [200, 429]


def test_no_request_is_refused_while_redis_does_not_respond(
    tenant: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rate_limits._Outage, "until", 0.0)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    api = token_with(tenant, rate_limit_per_minute=1)
    assert [api.get("/runs").status_code for _ in range(3)] == [200, 200, 200]
    assert [record.name for record in caplog.records].count("workflows.services.rate_limits") == 1
