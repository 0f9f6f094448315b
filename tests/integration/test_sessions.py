"""Limits and list of sessions (docs/reference/sign-in.md#sessions). The clock is changed, nothing sleeps."""

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.sign_in import sessions
from tests.support.factories import make_tenant
from workflows.models import SignInRecord, TenantMembership
from workflows.tenancy import NO_SCOPE, scope_of

PAGE, HOME = reverse("mfa_index"), reverse("admin:workflows_run_changelist")
LIVE = {"X-Live-Update": "1"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that moves the clock of sessions forward."""
    moved = timedelta()

    class Clock:
        now = staticmethod(lambda: timezone.now() + moved)

    monkeypatch.setattr(sessions, "timezone", Clock)

    def forward(**by: float) -> None:
        nonlocal moved
        moved += timedelta(**by)

    return forward


def make_account(tenant: Any) -> Any:
    account = get_user_model().objects.create_user(f"maya-{uuid.uuid4().hex[:8]}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=account, role="viewer")
    return account


def signed_in(account: Any, browser: str = "Browser") -> Client:
    client = Client(headers={"User-Agent": browser})
    with scope_of(NO_SCOPE):
        form = {"login": account.username, "password": "a long passphrase"}
        assert client.post(reverse("account_login"), form).status_code == 302
    return client


def is_open(client: Client, **options: Any) -> bool:
    return client.get(HOME, **options).status_code == 200


def expired(account: Any) -> list[str]:
    rows = SignInRecord.objects.filter(account_id=account.pk, kind="session_expired")
    return list(rows.values_list("detail", flat=True))


def test_activity_keeps_a_session_open_and_updates_of_a_live_page_do_not(
    tenant: Any, clock: Any, settings: Any
) -> None:
    account = make_account(tenant)
    busy, idle = signed_in(account), signed_in(account)
    for _ in range(3):
        clock(minutes=settings.SESSION_IDLE_MINUTES * 0.4)
        assert (is_open(busy), expired(account)) == (True, [])
        idle.get(HOME, headers=LIVE)
    assert (is_open(busy), is_open(idle, headers=LIVE), is_open(idle)) == (True, False, False)
    assert expired(account) == [f"{settings.SESSION_IDLE_MINUTES} minutes without activity"]


def test_session_ends_after_its_longest_time_in_any_case(tenant: Any, clock: Any, settings: Any) -> None:
    account = make_account(tenant)
    client = signed_in(account)
    for _ in range(settings.SESSION_MAX_HOURS * 2):
        clock(minutes=30)
        client.get(HOME)
    clock(minutes=1)
    assert not is_open(client)
    assert client.get("/api/v1/runs").status_code == 401
    assert expired(account) == [f"{settings.SESSION_MAX_HOURS} hours after its sign-in"]


def test_live_page_marks_its_requests() -> None:
    script = Path("portal/static/portal/live.js").read_text(encoding="utf-8")
    assert f'"{sessions.LIVE_UPDATE}"' in script


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36"
         " Edg/142.0", "Edge on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Mobile Safari/537.36",
         "Chrome on Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
         "Safari on iPhone"),
        ("curl/8.5.0", "curl/8.5.0"),
        ("x" * 200, "x" * 90),
    ],
)  # fmt: skip
def test_list_of_sessions_names_the_browser(user_agent: str, shown: str) -> None:
    now = timezone.now()
    assert sessions.OwnSession(1, "192.0.2.1", user_agent, now, now, is_current=False).browser == shown


def test_person_sees_and_ends_the_own_sessions(tenant: Any) -> None:
    account, stranger = make_account(tenant), make_account(make_tenant())
    here, there, foreign = signed_in(account, "Laptop"), signed_in(account, "Phone"), signed_in(stranger, "Tablet")
    page = here.get(PAGE)
    shown = {one.user_agent: one for one in page.context["sessions"]}
    assert set(shown) == {"Laptop", "Phone"}
    assert [one.user_agent for one in shown.values() if one.is_current] == ["Laptop"]
    end = reverse("account_session_end", args=[shown["Phone"].pk])
    assert (foreign.post(end).status_code, here.get(end).status_code) == (404, 405)
    form = {"idempotency_key": str(uuid.uuid4())}
    assert [here.post(end, form).status_code for _ in range(2)] == [302, 302]  # a double click
    assert (is_open(here), is_open(there), is_open(foreign)) == (True, False, True)
    row = SignInRecord.objects.get(account_id=account.pk, kind="session_ended")
    assert "Phone" in row.detail
    here.post(reverse("account_session_end", args=[shown["Laptop"].pk]))
    assert not is_open(here)
