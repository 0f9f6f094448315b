"""Forms in a browser: two clicks, and nothing chosen in advance."""

from typing import Any

from tests.support.browser import sign_in, waiting_run
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command


def test_double_click_on_a_button_sends_one_request(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/{run.id}/cancel/")
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Cancel the run").dblclick()
    page.locator(".runhead .pill", has_text="Canceled").wait_for()
    assert len(posts) == 1
    assert Command.objects.filter(run=run).count() == 1
