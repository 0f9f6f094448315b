"""An operator asks why an event did nothing, reads the answer, and sends it again with the key of the run."""

from typing import Any

from tests.support.browser import TOO_WIDE, sign_in, waiting_run
from tests.support.events import open_wait, receive
from tests.support.factories import eventually
from tests.support.tenant_driver import TenantDriver
from workflows.models import Event, EventDelivery

REPLIED = "TICKET_CUSTOMER_REPLIED"


def test_event_that_did_nothing_is_explained_and_sent_again(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver, key="TCK-4471")
    event = driver.send(REPLIED, {"ticketId": "TCK-4417", "note": "<script>alert(1)</script>\u202e"})
    eventually(lambda: Event.objects.filter(id=event.id, outcome="buffered").exists())
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/event/")
    page.locator(".chip", has_text="Buffered").click()
    page.get_by_role("link", name="TCK-4417").click()
    decision = "No run has used this event yet. No wait had this event type and key."
    page.get_by_role("heading", name=decision, level=2).wait_for()
    assert page.locator(".trace .diff").all_inner_texts()[:2] == ["71", "17"]
    page.get_by_role("link", name="Send with key TCK-4471…").click()
    assert page.input_value("input[name=workflow_correlation_key]") == "TCK-4471"
    assert page.locator("form .btn.primary").all_inner_texts() == ["Check"]
    page.get_by_role("button", name="Check").click()
    page.get_by_role("heading", name="The event would be delivered").wait_for()
    assert page.locator(".btn.primary").all_inner_texts() == ["Send the event"]
    page.locator("[role=status]:focus").wait_for()  # the browser moves the focus after it has drawn the page
    for width, height in ((390, 844), (1440, 900)):
        page.set_viewport_size({"width": width, "height": height})
        for seen in ("heading", "button"):
            name = "The event would be delivered" if seen == "heading" else "Send the event"
            box = page.get_by_role(seen, name=name).bounding_box()
            assert box["y"] + box["height"] <= height, (width, seen, box)
    page.get_by_label("Reason").fill("asked by the customer")
    assert page.locator(".btn.primary").all_inner_texts() == ["Send the event"]
    page.get_by_label("Payload").press("End")
    page.get_by_label("Payload").type(" ")
    assert page.locator(".btn.primary").all_inner_texts() == ["Check again", "Check again"]
    page.get_by_role("button", name="Send the event").click()
    page.get_by_role("heading", name="A run took the event.", level=2).wait_for()
    assert driver.wait_for_run("SUCCEEDED", id=run.id)
    assert Event.objects.filter(tenant=driver.tenant).count() == 2


def test_lists_with_long_keys_types_and_ids_fit_on_the_page(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    tenant, key, name = driver.tenant, "KEY-" + "k" * 100, "CUSTOMER_" + "T" * 100
    events = [receive(tenant, event_type=name, workflow_correlation_key=key, event_id="evt-" + "i" * 60)]
    events.append(receive(tenant, event_type=REPLIED, workflow_correlation_key="TCK-4417"))  # its id is made here
    run = open_wait(tenant, key=key, name=name).run
    for event in events:
        EventDelivery.objects.create(
            tenant=tenant, event=event, kind="wait", run=run, correlation_key=key, status="dead"
        )
    sign_in(page, site, member["operator"])
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for listed in ("event", "eventdelivery", "run"):
            page.goto(f"{site}/admin/workflows/{listed}/")
            page.locator("table.runs tbody tr").first.wait_for()
            assert page.evaluate(TOO_WIDE) == [], f"{listed} at {width} pixels"
            card = page.locator("table.runs").evaluate("(e) => e.scrollWidth - e.parentElement.clientWidth")
            assert card <= 0, f"the table {listed} is wider than its card at {width} pixels"
