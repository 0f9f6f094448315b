"""The page of the API documentation shows the numbers of a response with all digits."""

import json
from typing import Any

from tests.support.browser import sign_in
from tests.support.tenant_driver import TenantDriver
from workflows.strict_json import read_json

PAYLOAD = '{"id": 8202522731445525542, "price": 1.10, "none": {}, "list": [1, []]}'


def test_response_is_shown_with_all_digits(page: Any, site: str, driver: TenantDriver, member: dict[str, Any]) -> None:
    event = driver.send("PAID", read_json(PAYLOAD))
    sign_in(page, site, member["operator"])
    # Swagger UI renders only the operations near the visible part. The address leads to the operations of events.
    page.goto(f"{site}/api/v1/docs#/events")
    operation = page.locator(".opblock-get").filter(has=page.locator('[data-path="/api/v1/events/{name}"]'))
    operation.locator(".opblock-summary").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator('input[placeholder="name"]').fill(str(event.id))
    operation.get_by_role("button", name="Execute").click()
    body = operation.locator(".live-responses-table .response .highlight-code").first
    body.get_by_text("8202522731445525542").first.wait_for()
    shown = body.inner_text()
    assert '"price": 1.10' in shown
    start = shown.index("{")
    assert json.loads(shown[start : shown.rindex("}") + 1])["payload"] == json.loads(PAYLOAD)
