"""Fixtures of the browser tests: Chromium and the portal over HTTP, on the session's database and workers.

Without Chromium these tests are not collected, and a message says so. In CI a missing Chromium is an error.
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
        raise RuntimeError("The browser tests need Chromium in CI. Install it: apt-get install -y chromium")
    print("\nBrowser tests are skipped because Chromium is missing. Install it, or set CHROMIUM to its path.")
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="package")
def site(database: None) -> Iterator[str]:
    """Serve the portal and its static files over HTTP in a thread of this process. Yield its address."""
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.core.wsgi import get_wsgi_application
    from django.test import override_settings

    class QuietHandler(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Write no access log."""

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    with override_settings(WHITENOISE_USE_FINDERS=True):
        server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Start one Chromium for the package, because Playwright's event loop stays in this thread until it is stopped."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Open a new page. The test fails if the page logs an error.

    Without reduced motion, the mark of a live page is drawn 60 times in each second, without a graphics card.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(60_000)
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def member(driver: Any) -> dict[str, Any]:
    from django.contrib.auth import get_user_model

    from workflows.models import TenantMembership

    made: dict[str, Any] = {}
    for role in ("viewer", "operator"):
        user = get_user_model().objects.create_user(f"{role}-{driver.tenant.slug}", password="a long passphrase")
        TenantMembership.objects.create(tenant=driver.tenant, user=user, role=role)
        made[role] = user
    return made
