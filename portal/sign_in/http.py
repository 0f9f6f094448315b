"""HTTP of django-allauth with identity providers, through the portal's guarded HTTP client.

An administrator of a tenant chooses the address of a provider. The guard prevents calls of servers inside the network.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import requests
from django.conf import settings
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from workflows.actions.http_client import RESERVED_HEADERS, HttpCall, http_send
from workflows.actions.registry import ActionFailed
from workflows.services.identity_providers import is_private_host

TIMEOUT_SECONDS = 10
_lock = Lock()
_running: Counter[uuid.UUID] = Counter()


@contextmanager
def provider_calls(tenant_id: uuid.UUID) -> Iterator[None]:
    """Limit the sign-ins that wait for providers at the same time in this process, in total and for each tenant.

    A visitor can start any number of sign-ins. If a provider does not respond, they would occupy all threads.

    Errors: requests.ConnectionError above a limit. The person must try again.
    """
    with _lock:
        is_busy = _running.total() >= max(1, settings.WEB_THREADS // 2)
        if is_busy or _running[tenant_id] >= max(1, settings.WEB_THREADS // 4):
            raise requests.ConnectionError("too many sign-ins wait for identity providers")
        _running[tenant_id] += 1
    try:
        yield
    finally:
        with _lock:
            _running[tenant_id] -= 1


def guarded_session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    for prefix in ("https://", "http://"):
        session.mount(prefix, GuardedAdapter())
    return session


class GuardedAdapter(BaseAdapter):
    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request. Errors: requests.ConnectionError, for example for a private address."""
        url = str(request.url)
        if not url.startswith("https://") and not is_private_host(url):
            raise requests.ConnectionError(f"{url} does not use https", request=request)
        unsent = {*RESERVED_HEADERS, "accept-encoding"}
        headers = {name: str(value) for name, value in request.headers.items() if name.lower() not in unsent}
        body = request.body.encode() if isinstance(request.body, str) else request.body
        call = HttpCall(
            str(request.method), url, headers=headers, content={"content": body} if body else {},
            timeout_seconds=TIMEOUT_SECONDS,
        )  # fmt: skip
        try:
            received = http_send(call)
        except ActionFailed as error:
            raise requests.ConnectionError(str(error), request=request) from error
        response = requests.Response()
        response.status_code, response.url, response.request = received.status, url, request
        response.headers = CaseInsensitiveDict(received.headers)
        response.encoding, response._content = "utf-8", received.content
        return response

    def close(self) -> None:
        """Nothing stays open, because each request has its own connection."""
