"""Sign-in and test data for browser tests."""

from typing import Any

from tests.support.factories import publish, wait_for_reply
from tests.support.tenant_driver import TenantDriver


def sign_in(page: Any, site: str, user: Any) -> None:
    page.goto(f"{site}/admin/")
    page.fill("input[name=username]", user.username)
    page.fill("input[name=password]", "a long passphrase")
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")


def waiting_run(driver: TenantDriver, key: str = "T-1") -> Any:
    publish(
        driver.tenant,
        {"id": "s", "type": "state.set", "config": {"state": "WAITING_FOR_CUSTOMER"}},
        wait_for_reply(timeoutMs=3_600_000),
    )
    run = driver.start({"ticketId": key})
    return driver.wait_for_run("WAITING", id=run.id)
