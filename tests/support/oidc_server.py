"""A real OpenID Connect provider for tests: the npm package `oidc-provider`, in a Node process.

The package is installed once, into the cache of the portal. `.ci/run` installs it before the tests.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.factories import eventually
from tests.support.stack import free_ports

PACKAGE = "oidc-provider@9.13.3"
SCRIPT = Path(__file__).with_suffix(".mjs")


class OidcServer:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.http = httpx.Client(base_url=issuer, trust_env=False, timeout=30)

    def is_up(self) -> bool:
        try:
            return self.http.get("/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    def register(self, redirect_uri: str) -> tuple[str, str]:
        """Create a client. Return its id and its secret."""
        body = {"redirect_uris": [redirect_uri], "token_endpoint_auth_method": "client_secret_post"}
        made = self.http.post("/reg", json=body)
        assert made.status_code == 201, made.text
        return made.json()["client_id"], made.json()["client_secret"]

    def set_claims(self, subject: str, **claims: Any) -> None:
        assert self.http.put(f"/accounts/{subject}", json=claims).status_code == 204


def package_folder() -> Path:
    """Return the folder of the installed package. Install it if it is missing."""
    cache = Path(os.environ.get("POINTSMAN_CACHE") or Path.home() / ".cache" / "pointsman")
    home = cache / PACKAGE.replace("@", "-")
    folder = home / "node_modules" / "oidc-provider"
    if not folder.exists():
        npm = shutil.which("npm")
        assert npm is not None, "The tests of OpenID Connect need Node 20 with npm. Install them."
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [npm, "install", "--prefix", str(home), "--no-audit", "--no-fund", "--silent", PACKAGE], check=True
        )
    return folder


@contextmanager
def running_oidc_server() -> Iterator[OidcServer]:
    (port,) = free_ports(1)
    process = subprocess.Popen(
        ["node", str(SCRIPT), str(package_folder()), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = OidcServer(f"http://127.0.0.1:{port}")
    try:
        eventually(server.is_up, what="the OpenID Connect provider is up")
        yield server
    finally:
        server.http.close()
        process.terminate()
        process.wait(60)
