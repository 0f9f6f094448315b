"""Journey of an operator: triage an incident, replay its first run, then the others, and read each result."""

from typing import Any

from tests.support.browser import sign_in
from tests.support.factories import expr, publish
from tests.support.failed_runs import grow_incidents
from tests.support.tenant_driver import TenantDriver
from workflows.models import Incident, Run


def gate(condition: str) -> dict[str, Any]:
    return {
        "id": "gate",
        "type": "control.if",
        "name": "Is the gate open?",
        "condition": expr(condition),
        "then": [{"id": "open", "type": "state.set", "config": {"state": "OPEN"}}],
    }


def actions_stay_in_sight(page: Any) -> None:
    """Check that the buttons of a long preview are on the first screen, and that they cover no field with the focus."""
    reason, start = page.locator("#id_reason"), page.get_by_role("button", name="Start 1 first")
    for width, height in ((1440, 560), (390, 700)):
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        box = start.bounding_box()
        assert 0 < box["y"] < height - box["height"], (width, box)
        assert reason.bounding_box()["y"] + 34 > box["y"], "the preview is too short to show anything"
        reason.focus()
        assert reason.bounding_box()["y"] + reason.bounding_box()["height"] < start.bounding_box()["y"], width
    page.set_viewport_size({"width": 1440, "height": 900})


def test_triage_an_incident_and_bulk_replay_it(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    publish(driver.tenant, gate("payload.gate"))  # a text is not a boolean, so each run fails
    runs = [driver.start({"gate": f"G-{number}"}) for number in range(3)]
    for run in runs:
        driver.wait_for_run("FAILED", id=run.id)
    publish(driver.tenant, gate("len(payload.gate) > 0"))
    (incident,) = grow_incidents(driver.tenant)
    sign_in(page, site, member["operator"])

    page.get_by_role("link", name="Incidents").first.click()
    page.locator(".inc .t a").click()
    page.get_by_role("heading", name="Failures per hour").wait_for()
    assert "Is the gate open?" in page.inner_text("[aria-labelledby=h-y]")
    page.get_by_role("button", name="Make me the owner").click()
    page.locator(".runhead .pill", has_text="Open").wait_for()
    page.fill("#nt", "Version 2 accepts texts.")
    page.get_by_role("button", name="Save the note").click()
    page.get_by_text("Version 2 accepts texts.").wait_for()

    page.get_by_role("button", name="Preview on version 2").click()
    page.get_by_role("heading", name="Replay 3 runs?").wait_for()
    assert page.get_by_role("heading", name="Failures per hour").is_visible()  # the preview is on the same page
    actions_stay_in_sight(page)
    page.get_by_role("button", name="Start 1 first").click()
    page.get_by_text("The first replay has succeeded.").wait_for()
    page.get_by_text("waiting for you").wait_for()
    page.get_by_role("button", name="Start the other 2").click()
    page.get_by_text("3 of 3 succeeded").wait_for()
    assert page.locator("[aria-labelledby=h-fl] tbody .pill", has_text="Succeeded").count() == 3

    page.get_by_role("link", name="Resolved in…").click()
    page.fill("input[name=version]", "2")
    page.get_by_role("button", name="Mark as resolved").click()
    page.locator(".runhead .pill", has_text="Resolved").wait_for()
    page.locator(".runhead").get_by_role("link", name="3 runs").click()
    page.get_by_text("INC-1").first.wait_for()
    assert Incident.objects.get(id=incident.id).run_count == 3
    assert Run.objects.filter(tenant=driver.tenant, replay_of__isnull=False, status="SUCCEEDED", version=2).count() == 3
