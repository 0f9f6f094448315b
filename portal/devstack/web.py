"""Probe of the web process."""

import http.client
from urllib.parse import urlsplit

from portal.devstack.config import StackConfig

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not bound
_BODY_SHOWN = 500


def problem(config: StackConfig, path: str) -> str:
    """Return "" if the page has status 200, otherwise the problem. The request uses no proxy."""
    host = _WILDCARDS.get(config.host, config.host)
    named = urlsplit(config.public_url)
    # The request uses the public host name, because ALLOWED_HOSTS may contain only this name.
    header = named.netloc if named.hostname and named.hostname not in _WILDCARDS else f"{host}:{config.port}"
    connection = http.client.HTTPConnection(host, config.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": header, "Accept": "application/json"})
        response = connection.getresponse()
        body = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{path}: {error}"
    finally:
        connection.close()
    return "" if response.status == 200 else f"{path} returned {response.status}: {body[:_BODY_SHOWN]}"
