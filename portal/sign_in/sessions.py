"""Limits and list of sessions (docs/reference/sign-in.md#sessions)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module

from allauth.account.internal.flows.logout import logout
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from portal.sign_in.requests import client_of
from workflows.services.identity_providers import identity_provider_by_id
from workflows.services.sign_in_records import sign_in_record
from workflows.sign_in_kinds import SignInKind

# Keys of a session. Both values are epoch seconds.
STARTED, ACTIVE = "signed_in_at", "active_at"
PROVIDER = "identity_provider"  # id of the provider that opened the session
ACTIVITY_IS_STORED_EVERY = 60  # seconds
# Part of the header `User-Agent`, and its name. The first part that is found applies, because browsers name others too.
BROWSERS = {"Edg": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
SYSTEMS = {
    "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS X": "macOS",
    "CrOS": "ChromeOS", "Linux": "Linux",
}  # fmt: skip
LIVE_UPDATE = "X-Live-Update"  # header of the requests of live.js
GetResponse = Callable[[HttpRequest], HttpResponse]


def start_session(request: HttpRequest) -> None:
    """Set the times of a session at its sign-in."""
    request.session[STARTED] = request.session[ACTIVE] = timezone.now().timestamp()


class SessionLimitMiddleware:
    """End a session that is idle or too old, or whose provider is gone, before the request can read anything."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            _check(request)
        return self.get_response(request)


def _check(request: HttpRequest) -> None:
    now = timezone.now().timestamp()
    started, active = request.session.get(STARTED, 0), request.session.get(ACTIVE, 0)
    if now - started > settings.SESSION_MAX_HOURS * 3600:
        _expire(request, f"{settings.SESSION_MAX_HOURS} hours after its sign-in")
    elif now - active > settings.SESSION_IDLE_MINUTES * 60:
        _expire(request, f"{settings.SESSION_IDLE_MINUTES} minutes without activity")
    elif PROVIDER in request.session and identity_provider_by_id(request.session[PROVIDER]) is None:
        _expire(request, "its identity provider was deleted or switched off")
    elif LIVE_UPDATE not in request.headers and now - active > ACTIVITY_IS_STORED_EVERY:
        request.session[ACTIVE] = now


def _expire(request: HttpRequest, detail: str) -> None:
    sign_in_record(kind=SignInKind.SESSION_EXPIRED, account=request.user, detail=detail, origin=client_of(request))
    request.session.flush()
    request.user = AnonymousUser()


@dataclass(frozen=True)
class OwnSession:
    pk: int
    address: str
    user_agent: str
    signed_in_at: datetime
    active_at: datetime
    is_current: bool

    @property
    def browser(self) -> str:
        """Return the browser and the system, for example `Firefox on Windows`, or the header if they are unknown."""
        browser, system = (
            next((name for part, name in known.items() if part in self.user_agent), "") for known in (BROWSERS, SYSTEMS)
        )
        return f"{browser} on {system}" if browser and system else self.user_agent[:90]


def own_sessions(request: HttpRequest) -> list[OwnSession]:
    """Return the open sessions of the account, the last activity first."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    found = []
    for row in UserSession.objects.purge_and_list(request.user):
        times = store(row.session_key)
        started, active = (datetime.fromtimestamp(times.get(key, 0), UTC) for key in (STARTED, ACTIVE))
        found.append(OwnSession(row.pk, row.ip, row.user_agent, started, active, row.is_current()))
    return sorted(found, key=lambda one: one.active_at, reverse=True)


def end_session(request: HttpRequest, row: UserSession) -> None:
    detail = f"{row.ip} {row.user_agent}"
    sign_in_record(kind=SignInKind.SESSION_ENDED, account=request.user, detail=detail, origin=client_of(request))
    is_current = row.is_current()
    row.end()
    if is_current:
        logout(request)
