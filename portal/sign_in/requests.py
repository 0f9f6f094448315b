"""Address and browser of a request, for lockouts and for the audit log."""

from ipaddress import IPv6Address, ip_address

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
    return _as_ipv4(str(address or ""))


def _as_ipv4(address: str) -> str:
    """Return the IPv4 address in an address such as `::ffff:192.0.2.1`, which a socket for both versions reports.

    All such addresses are in one /64 network of IPv6, so all people would be locked out together.
    """
    mapped = ip_address(address) if ":" in address else None
    return str(mapped.ipv4_mapped) if isinstance(mapped, IPv6Address) and mapped.ipv4_mapped else address


def client_of(request: HttpRequest | None, *, by_name: str = "") -> Origin:
    """Return the origin of a request for the audit log. Work without a request has an empty origin."""
    if request is None:
        return Origin()
    return Origin(client_address(request), request.headers.get("User-Agent", ""), by_name)
