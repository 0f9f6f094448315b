"""Forms and live pages in a browser: two clicks, nothing chosen in advance, and updates that leave the rest alone."""

from typing import Any

from tests.support.browser import sign_in, waiting_run
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command


def test_update_of_a_live_page_keeps_open_details_and_focus(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    waiting_run(driver)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/")
    page.get_by_role("link", name="flow@1").click()
    page.locator("#run-live summary").first.click()
    page.locator("#run-live .pm-tabs a").first.focus()
    page.evaluate("document.querySelector('#run-live').isTheSame = true")
    with page.expect_response(lambda response: "/run/" in response.url and response.request.resource_type == "xhr"):
        pass
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-1", "text": "hello"})
    page.locator(".pm-head .pm-pill", has_text="succeeded").wait_for()
    assert page.evaluate("document.querySelector('#run-live').isTheSame")
    assert page.locator("#run-live details").first.get_attribute("open") is not None
    assert page.evaluate("document.activeElement.closest('.pm-tabs') !== null")


def test_double_click_on_a_button_sends_one_request(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/{run.id}/cancel/")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Cancel the run").dblclick()
    page.locator(".pm-head .pm-pill", has_text="canceled").wait_for()
    assert len(posts) == 1
    assert Command.objects.filter(run=run).count() == 1
