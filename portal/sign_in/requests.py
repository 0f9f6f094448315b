"""Address and browser of a request, for lockouts and for the audit log."""

from allauth.core.internal.httpkit import clean_client_ip, get_client_ip
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest

from workflows.services.sign_in_records import Origin


def client_address(request: HttpRequest) -> str:
    """Return the IP address of the client, or an empty text.

    With TRUSTED_PROXY_COUNT proxies, the address is the entry of `X-Forwarded-For` that the first of them appended. A
    request with fewer entries did not come through the proxies. It has the address of its connection.
    """
    try:
        address = get_client_ip(request)
    except ImproperlyConfigured:
        address = clean_client_ip(request.META.get("REMOTE_ADDR", ""))
    return str(address or "")


def client_of(request: HttpRequest | None, *, by_name: str = "") -> Origin:
    """Return the origin of a request for the audit log. Work without a request has an empty origin."""
    if request is None:
        return Origin()
    return Origin(client_address(request), request.headers.get("User-Agent", ""), by_name)
