"""An operator's work in a browser: find a run, see why it waits, send a command, see the outcome."""

import json
from typing import Any

from tests.support.browser import follow, sign_in, waiting_run
from tests.support.tenant_driver import TenantDriver
from workflows.models import BulkJob, Command


def test_waiting_run_is_found_and_page_updates_when_event_arrives(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver)
    driver.send("TICKET_CUSTOMER_REPLIED", {"ticketId": "T-l"})  # the letter l instead of the digit 1: a near miss
    sign_in(page, site, member["operator"])
    page.get_by_role("link", name="Runs", exact=True).first.click()
    page.get_by_role("link", name="Waiting 1").click()
    page.locator("table.runs tbody a").first.click()
    page.get_by_role("heading", name="Waiting for the event TICKET_CUSTOMER_REPLIED").wait_for()
    why = page.locator(".why")
    assert "T-1" in why.inner_text()
    page.get_by_role("heading", name="Near misses").wait_for()
    assert "T-l" in page.inner_text("#run-steps")

    page.evaluate("window.notReloaded = true")
    other = page.context.new_page()
    other.goto(f"{site}/admin/workflows/event/send/?event_type=TICKET_CUSTOMER_REPLIED")
    other.fill("textarea[name=payload]", json.dumps({"ticketId": "T-1", "text": "hello"}))
    other.get_by_role("button", name="Send the event").click()
    other.wait_for_url("**/change/")
    page.locator(".runhead .pill", has_text="Succeeded").wait_for()
    assert page.evaluate("window.notReloaded"), "the page was reloaded"
    assert str(run.id) in page.url
    assert "The run succeeded" in page.inner_text(".why")


def test_cancel_shows_confirmation_and_outcome(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver)
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/{run.id}/change/")
    follow(page, page.get_by_role("link", name="Cancel…"))
    assert "If Temporal refuses, nothing changes" in page.inner_text("main, #content")
    page.fill("input[name=reason]", "a duplicate of T-0")
    page.get_by_role("button", name="Cancel the run").click()
    page.locator(".runhead .pill", has_text="Canceled").wait_for()
    assert "a duplicate of T-0" in page.inner_text("#run-live")
    page.get_by_role("link", name="Audit 1").click()
    page.locator("#run-live table", has_text="Observed").wait_for()
    assert Command.objects.get(run=run).actor_name == member["operator"].username


def test_bulk_cancel_shows_one_result_per_run(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    runs = [waiting_run(driver, f"T-{number}") for number in range(2)]
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/")
    page.get_by_label("Select the runs on this page").check()
    page.get_by_role("button", name="Cancel through Temporal…").click()
    page.get_by_role("heading", name="Cancel 2 runs?").wait_for()
    assert not Command.objects.filter(run__in=runs).exists(), "the preview must not send commands"
    page.get_by_role("button", name="Cancel 2 runs").click()
    page.locator(".pill", has_text="of 2 canceled").wait_for()
    for run in runs:
        driver.wait_for_run("CANCELED", id=run.id)
    page.get_by_role("link", name="Canceled 2").wait_for()
    assert page.get_by_role("group", name="Outcome of the runs").inner_text().split()[:2] == ["2", "canceled"]


def test_bulk_job_of_filter_has_preview_and_stop_has_confirmation(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    for number in range(3):
        waiting_run(driver, f"T-{number}")
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/run/?status__exact=WAITING")
    page.get_by_label("Select the runs on this page").check()
    page.get_by_text("3 selected").wait_for()
    assert page.get_by_role("link", name="Select all 3").count() == 0, "all runs are selected already"
    page.locator("[name=_selected_action]").first.uncheck()
    page.get_by_role("link", name="Select all 3").click()
    page.get_by_text("All 3 selected").wait_for()
    page.get_by_role("button", name="Replay…").click()
    page.get_by_role("heading", name="Replay 3 runs?").wait_for()
    job = BulkJob.objects.get(tenant=driver.tenant)
    assert job.selection == {"list": {"status__exact": ["WAITING"]}}
    BulkJob.objects.filter(id=job.id).update(rate_per_second=0.005)  # one request now, the next after 200 seconds
    page.get_by_role("button", name="Start 3 replays").click()
    page.get_by_role("link", name="Open 1").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("paused by").wait_for()
    follow(page, page.get_by_role("link", name="Stop…"))
    assert "sends no more requests" in page.inner_text("main, #content")
    page.get_by_role("button", name="Stop this job").click()
    page.get_by_role("link", name="Not requested 2").wait_for()


def test_invalid_json_error_is_shown_beside_field(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    sign_in(page, site, member["operator"])
    page.goto(f"{site}/admin/workflows/event/send/")
    page.fill("input[name=event_type]", "E")
    page.fill("textarea[name=payload]", "{not json")
    page.get_by_role("button", name="Send the event").click()
    assert "This is not valid JSON" in page.inner_text(".ui .err")


def test_viewer_sees_no_payload_and_no_command(
    page: Any, site: str, driver: TenantDriver, member: dict[str, Any]
) -> None:
    run = waiting_run(driver)
    sign_in(page, site, member["viewer"])
    page.goto(f"{site}/admin/workflows/run/{run.id}/change/?tab=input")
    assert "may not view payloads" in page.inner_text("#run-live")
    assert page.get_by_role("link", name="Cancel…").count() == 0
    page.locator(".more summary").click()
    assert "You need the role operator." in page.inner_text(".more")
    page.goto(f"{site}/admin/workflows/run/")
    assert page.locator("input[name=_selected_action], button[name=action]").count() == 0
