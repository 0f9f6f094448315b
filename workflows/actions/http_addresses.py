"""Addresses that `http.request` may call.

The guard resolves the host and returns the checked address. The caller connects to this address, because a second
look-up could return another address. Hosts in `HTTP_ALLOWED_PRIVATE_HOSTS` (`host` or `host:port`) are always
permitted.
"""

import ipaddress
import queue
import socket
import threading

from django.conf import settings

from workflows.actions.registry import ActionFailed
from workflows.engine.errors import Category

GLOBAL_IPV6 = ipaddress.ip_network("2000::/3")
# Services inside a network have these addresses. Python's `is_global` wrongly counts some of them as public.
NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # protocol assignments; metadata services of some clouds
        "168.63.129.16/32",  # the host of a virtual machine in Azure
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",  # anycast inside a network
        "2001::/23",  # protocol assignments, with Teredo, which contains an IPv4 address
        "2620:4f:8000::/48", "3fff::/20",  # anycast inside a network; documentation
    )
)  # fmt: skip


def checked_address(host: str, port: int, *, seconds: float) -> str:
    """Return a permitted address of the host.

    Errors: ActionFailed. Its category is TransientError if the host has no address or was not resolved in time. Its
    category is ValidationError if the host has a private address. The author or an administrator must act.
    """
    addresses = _resolve(host, port, seconds)
    allowed = {name.lower() for name in settings.HTTP_ALLOWED_PRIVATE_HOSTS}
    if host.lower() in allowed or f"{host.lower()}:{port}" in allowed:
        return addresses[0]
    for address in addresses:
        if not is_public(address):
            raise ActionFailed(
                f"{host} has the private address {address}, which is not permitted. An administrator can add the host"
                " to HTTP_ALLOWED_PRIVATE_HOSTS.",
                category=Category.VALIDATION,
                code="HTTP_HOST_NOT_ALLOWED",
            )
    return addresses[0]


def is_public(text: str) -> bool:
    """Return True if the address belongs to the public internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(str(inner))
        # All public IPv6 addresses are in 2000::/3. This test excludes NAT64, site-local and IPv4-compatible addresses.
        if address not in GLOBAL_IPV6:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)


def _resolve(host: str, port: int, seconds: float) -> list[str]:
    """Return the addresses of a host. The resolver runs in a thread, because it has no time limit."""
    found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([str(entry[4][0]) for entry in entries])
        except (OSError, ValueError) as error:  # UnicodeError is a ValueError
            found.put(error)

    threading.Thread(target=resolve, name="http.request resolver", daemon=True).start()
    try:
        result = found.get(timeout=max(seconds, 0))
    except queue.Empty:
        raise ActionFailed(
            f"The host {host!r} was not resolved within {seconds:g} s.",
            category=Category.TRANSIENT,
            code="HTTP_TIMEOUT",
        ) from None
    if isinstance(result, ValueError):
        raise ActionFailed(
            f"The URL is invalid: {host[:200]!r} cannot be a host name.",
            category=Category.VALIDATION,
            code="HTTP_URL_INVALID",
        ) from result
    if isinstance(result, Exception):
        raise ActionFailed(
            f"The host {host!r} cannot be resolved: {result}", category=Category.TRANSIENT, code="HTTP_HOST_UNKNOWN"
        ) from result
    return result
