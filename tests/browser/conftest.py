"""A real browser on a real server: Debian's Chromium on the session's own database and workers.

A machine without Chromium does not collect these tests and says so; on CI its absence is an error.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Playwright's synchronous API keeps an event loop in this thread, which Django would mistake for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"

CHROMIUM = next(
    (
        p
        for p in (os.environ.get("CHROMIUM", ""), "/usr/bin/chromium", shutil.which("chromium") or "")
        if p and Path(p).exists()
    ),
    None,
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

if CHROMIUM is None:
    if os.environ.get("CI"):
        raise RuntimeError("CI needs Chromium: apt-get install -y chromium")
    print("\nbrowser tests are left out: no Chromium here (apt-get install chromium, or name it in CHROMIUM)")
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="package")
def site(database: None) -> Iterator[str]:
    """The portal over HTTP, in a thread of this process."""
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

    from portal.wsgi import application

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """The test looks at pages, not at access logs."""

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Playwright keeps a loop in the thread that uses it, so the whole session of it lives in its own thread's calls."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A fresh page; the test fails when the page logs an error."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(15_000)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def member(desk: Any) -> dict[str, Any]:
    from django.contrib.auth import get_user_model

    from workflows.models import TenantMembership

    made: dict[str, Any] = {}
    for role in ("viewer", "operator"):
        user = get_user_model().objects.create_user(f"{role}-{desk.tenant.slug}", password="a long passphrase")
        TenantMembership.objects.create(tenant=desk.tenant, user=user, role=role)
        made[role] = user
    return made
