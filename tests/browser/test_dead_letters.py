"""An operator finds a dead delivery, reads the reason, and redelivers it with the keyboard only."""

import json
from typing import Any

import pytest

from ingress.dispatch import delivery
from tests.support.browser import follow, sign_in, waiting_run
from tests.support.factories import eventually
from tests.support.tenant_driver import TenantDriver
from workflows.models import Command, EventDelivery

REPLIED = "TICKET_CUSTOMER_REPLIED"


def dead_delivery(driver: TenantDriver, monkeypatch: pytest.MonkeyPatch, settings: Any) -> EventDelivery:
    """Return a dead delivery to a waiting run. Its only attempt failed."""
    waiting_run(driver)

    def failing(row: EventDelivery) -> tuple[str, str]:
        raise RuntimeError("simulated failure")

    settings.DELIVERY_MAX_ATTEMPTS = 1
    with monkeypatch.context() as patched:
        patched.setattr(delivery, "event_deliver_to_wait", failing)
        event = driver.send(REPLIED, {"ticketId": "T-1"})
        return eventually(lambda: EventDelivery.objects.filter(event=event, status="dead").first())


def test_dead_delivery_is_found_and_redelivered_by_keyboard(
    page: Any,
    site: str,
    driver: TenantDriver,
    member: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
) -> None:
    row = dead_delivery(driver, monkeypatch, settings)
    sign_in(page, site, member["operator"])
    page.get_by_role("link", name="Dead letters 1").press("Enter")
    page.get_by_role("link", name=REPLIED).press("Enter")
    page.get_by_text("All attempts to deliver it failed.").first.wait_for()
    page.locator(".attempts summary").press("Enter")
    assert page.get_by_text("RuntimeError: simulated failure").last.is_visible()
    page.get_by_role("link", name="Redeliver…").first.press("Enter")
    page.get_by_role("heading", name="What would happen now").wait_for()
    assert "the wait has no filters" in page.inner_text(".ui table")
    page.fill("input[name=reason]", "the bug is fixed")
    page.get_by_role("button", name="Redeliver 1 delivery").press("Enter")
    page.get_by_text("The delivery is redelivered").wait_for()
    driver.wait_for_run("SUCCEEDED", id=row.run_id)
    page.reload()
    page.get_by_role("heading", name="A run took the event.", level=2).wait_for()
    assert "the bug is fixed" in page.inner_text("#event-live")
    command = Command.objects.get(target_id=str(row.id))
    assert (command.action, command.state, command.actor_name) == ("redeliver", "observed", member["operator"].username)


def test_what_if_form_is_filled_from_event_and_buffer_time_counts_down(
    page: Any,
    site: str,
    driver: TenantDriver,
    member: dict[str, Any],
) -> None:
    run = waiting_run(driver)
    event = driver.send(REPLIED, {"ticketId": "T-l"})
    eventually(lambda: type(event).objects.filter(id=event.id, outcome="buffered").exists())
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/event/{event.id}/change/")
    left = page.locator(".pm-countdown")
    first = left.inner_text()
    eventually(lambda: left.inner_text() != first, what="the remaining time decreases")
    page.get_by_role("link", name="Preview routing now…").click()
    written = json.loads(page.input_value("textarea[name=event]"))
    assert written == {"event_type": REPLIED, "payload": {"ticketId": "T-l"}}
    page.fill("textarea[name=event]", json.dumps({**written, "payload": {"ticketId": "T-1"}}))
    page.get_by_role("button", name="What would it do?").click()
    page.get_by_role("heading", name="The event would be delivered").wait_for()
    follow(page, page.get_by_role("link", name="run T-1"))
    assert str(run.id) in page.url
    assert driver.wait_for_run("WAITING", id=run.id)
