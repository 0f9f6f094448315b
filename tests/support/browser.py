"""Steps that several browser tests share."""

from typing import Any

from tests.support.desk import Desk
from tests.support.factories import publish, wait_for_reply


def sign_in(page: Any, site: str, user: Any) -> None:
    page.goto(f"{site}/admin/")
    page.fill("input[name=username]", user.username)
    page.fill("input[name=password]", "a long passphrase")
    page.click("button[type=submit]")
    page.wait_for_url("**/admin/")


def waiting_run(desk: Desk, key: str = "T-1") -> Any:
    publish(
        desk.tenant,
        {"id": "s", "type": "state.set", "config": {"state": "WAITING_FOR_CUSTOMER"}},
        wait_for_reply(timeoutMs=3_600_000),
    )
    run = desk.start({"ticketId": key})
    return desk.run_is("WAITING", id=run.id)
