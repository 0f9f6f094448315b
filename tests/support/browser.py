"""Sign-in and test data for browser tests."""

from typing import Any

from django.conf import settings
from django.test import Client

from tests.support.factories import publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver

# The innermost elements that make the page wider than the screen.
TOO_WIDE = """() => {
    const most = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= most) return [];
    const scrolls = (e) => /auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX);
    const isCut = (e) => e.parentElement !== document.body && (scrolls(e.parentElement) || isCut(e.parentElement));
    const wide = [...document.querySelectorAll("body > * *")].filter(
        (e) => e.getBoundingClientRect().right > most + 1 && !isCut(e));
    return wide.slice(-3).map((e) => `${e.tagName}.${e.className}`);
}"""


def sign_in(page: Any, site: str, user: Any) -> None:
    page.goto(f"{site}/admin/")
    page.fill("input[name=login]", user.username)
    page.fill("input[name=password]", "a long passphrase")
    follow(page, "button:text-is('Sign in')")
    assert page.url == f"{site}/admin/"


def follow(page: Any, link: Any) -> None:
    """Click a link or button, and wait for the next page. Without this, a test could read or fill the old one.

    `link` is a locator or a selector.
    """
    with page.expect_navigation():
        (page.locator(link) if isinstance(link, str) else link).click()


def waiting_run(driver: TenantDriver, key: str = "T-1") -> Any:
    publish(
        driver.tenant,
        {"id": "s", "type": "state.set", "config": {"state": "WAITING_FOR_CUSTOMER"}},
        wait_for_reply(timeoutMs=3_600_000),
    )
    run = driver.start({"ticketId": key})
    return driver.wait_for_run("WAITING", id=run.id)


def member_context(browser: Any, site: str, user: Any, *, width: int = 1440, height: int = 900, **more: Any) -> Any:
    """Return a new browser context in which the user is signed in. `more` goes to Playwright, for example the theme."""
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce", **more)
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": site}])
    context.set_default_timeout(60_000)
    return context
