"""Live pages in a browser: only what differs changes, a failed request does not end the updates, a hidden tab is quiet.

The tests move the clock of the page, so that they do not depend on the speed of the machine.
"""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from tests.support.browser import sign_in
from tests.support.bulk_jobs import start_job
from tests.support.events import receive
from tests.support.factories import make_run, publish
from tests.support.problems import add_failed, add_incident
from workflows.admin import live as live_pages
from workflows.models import BulkJob, Run, RunStep, TenantMembership
from workflows.projections.transaction import projection_writer

SET_HIDDEN = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
IS_IDLE = "() => document.querySelector('[data-live-read][aria-busy=true]') === null"
LAST_DELAY_SECONDS = 30


class LivePage:
    """An open live page of a run. The test moves its clock and sees its polls."""

    def __init__(self, page: Any, run: Run) -> None:
        self.page, self.run = page, run
        self.polls: list[Any] = []
        page.on("request", lambda request: self.polls.append(request) if is_poll(request) else None)

    def move(self) -> None:
        """Move the clock by half a second, and wait for the end of a poll that this causes."""
        self.page.clock.run_for(500)
        self.page.wait_for_function(IS_IDLE)

    def poll(self) -> Any:
        """Move the clock until the next poll, and return the request."""
        before = len(self.polls)
        for _ in range(2 * LAST_DELAY_SECONDS + 2):
            self.move()
            if len(self.polls) > before:
                return self.polls[-1]
        raise AssertionError(f"no poll within {LAST_DELAY_SECONDS} s")

    def count_in(self, seconds: int) -> int:
        """Return the number of polls in this time of the page's clock."""
        before = len(self.polls)
        for _ in range(2 * seconds):
            self.move()
        return len(self.polls) - before

    def change(self, **fields: Any) -> None:
        with projection_writer("test"):
            Run.objects.filter(id=self.run.id).update(**fields)


def is_poll(request: Any) -> bool:
    return bool(request.resource_type == "fetch")


@pytest.fixture(autouse=True)
def _one_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests within one age of a page, also when a minute begins during a test."""
    monkeypatch.setattr(live_pages, "age_of", lambda seconds: 1)


@pytest.fixture
def live(page: Any, site: str, tenant: Any) -> LivePage:
    run = make_run(tenant, state="BEFORE")
    sign_in(page, site, make_member(tenant, "viewer"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run.id])}")
    page.locator("[data-live-read].live").wait_for()
    stop_clock(page)
    return LivePage(page, run)


def stop_clock(page: Any) -> None:
    """Let only the test move the clock. Otherwise a poll can come before the test asks for it on a slow machine."""
    page.clock.pause_at(timezone.now() + timedelta(minutes=10))
    page.wait_for_function(IS_IDLE)


def test_update_keeps_details_focus_typed_text_and_scroll(live: LivePage) -> None:
    page = live.page
    page.route("**/change/", add_field)
    page.reload()
    page.evaluate(
        """() => {
          const own = document.querySelector("#run-live");
          own.insertAdjacentHTML("afterend", "<div style='height: 3000px'></div>");
          own.isTheSame = true;
        }"""
    )
    page.fill("#typed", "not sent yet")
    page.locator("#run-live summary").first.click()
    page.locator("#run-live nav a").first.focus()
    page.evaluate("() => scrollTo(0, 40)")
    live.change(state="AFTER", projection_seq=5)
    assert live.poll().response().status == 200
    page.get_by_text("AFTER").first.wait_for()
    assert page.get_by_text("BEFORE").count() == 0
    assert page.evaluate("document.querySelector('#run-live').isTheSame")
    assert page.locator("#run-live details").first.get_attribute("open") is not None
    assert page.evaluate("document.activeElement.matches('#run-live nav a')")
    assert page.locator("#typed").input_value() == "not sent yet"
    assert page.evaluate("scrollY") == 40
    assert live.poll().response().status == 304


def add_field(route: Any) -> None:
    """Pass the request on, and add a text field to the live element of the response."""
    response = route.fetch()
    body = re.sub(r'(id="run-live"[^>]*>)', r'\1<input id="typed">', response.text())
    route.fulfill(response=response, body=body)


def test_polls_become_rare_without_a_change_and_frequent_after_one(live: LivePage) -> None:
    first, later = live.count_in(60), live.count_in(60)
    assert first > later >= 2
    live.change(state="AFTER", projection_seq=5)
    live.poll()
    assert live.count_in(60) > later


def test_hidden_tab_sends_no_request_and_a_shown_tab_sends_one_at_once(live: LivePage) -> None:
    live.page.evaluate(SET_HIDDEN, True)
    assert live.count_in(60) == 0
    with live.page.expect_request(is_poll):
        live.page.evaluate(SET_HIDDEN, False)


def test_failed_poll_is_shown_and_the_next_one_clears_it(live: LivePage) -> None:
    context, problem = live.page.context, live.page.locator("[data-live-problem]")
    cookies = context.cookies()
    context.clear_cookies()
    live.poll()
    assert "You are signed out" in problem.inner_text()
    assert "Not updated since" in problem.inner_text()
    context.add_cookies(cookies)
    live.poll()
    assert problem.inner_text() == ""


def test_end_of_the_run_ends_the_polls(live: LivePage) -> None:
    live.change(status="SUCCEEDED", projection_seq=5)
    assert live.poll().response().status == 200
    live.page.locator("[data-live-read]:not(.live)").wait_for()
    assert live.count_in(60) == 0


def test_run_list_keeps_the_selection_and_new_rows_wait_until_they_are_wanted(
    page: Any, site: str, tenant: Any
) -> None:
    user = make_member(tenant, "operator")
    old = make_run(tenant, correlation_key="OLD-1")
    left = make_run(tenant, correlation_key="OLD-2")
    sign_in(page, site, user)
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_run_changelist')}?status__exact=WAITING")
    page.locator("[data-live-read].live").wait_for()
    stop_clock(page)
    live = LivePage(page, left)
    page.locator(f"tr[data-key='{old.id}'] input[name=_selected_action]").check()
    make_run(tenant, correlation_key="NEW-1")
    live.change(status="RUNNING", projected_at=timezone.now())
    assert live.poll().response().status == 200
    assert page.get_by_text("OLD-2").count() == 0  # it has left the filter
    assert page.get_by_text("NEW-1").count() == 0
    assert page.locator("[data-selected]").inner_text() == "1 selected"
    page.get_by_role("button", name="1 new, show").click()
    page.get_by_text("NEW-1").wait_for()
    assert page.locator("[data-live-new]").is_hidden()
    assert page.locator(f"tr[data-key='{old.id}'] input[name=_selected_action]").is_checked()
    page.locator("tr", has_text="NEW-1").locator("input[name=_selected_action]").check()
    assert page.locator("[data-selected]").inner_text() == "2 selected"


def test_event_list_shows_that_there_are_new_events(page: Any, site: str, tenant: Any, no_dispatcher: None) -> None:
    receive(tenant, event_id="first")
    sign_in(page, site, make_member(tenant, "viewer"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_event_changelist')}")
    page.locator("[data-live-read].live").wait_for()
    stop_clock(page)
    live = LivePage(page, Run())
    assert live.poll().response().status == 304
    receive(tenant, event_id="second")
    assert live.poll().response().status == 200
    assert page.get_by_text("second").count() == 0
    page.get_by_role("button", name="The list has changed, show").click()
    page.get_by_text("second").first.wait_for()


def test_dashboard_updates_the_counts(page: Any, site: str, tenant: Any) -> None:
    sign_in(page, site, make_member(tenant, "viewer"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:index')}")
    page.get_by_text("Nothing needs attention").wait_for()
    stop_clock(page)
    # The theme shows messages in such a list. The test adds them, because the dashboard has no message of its own.
    notes = "<ul><li><p data-live-moment>The job continues.</p></li><li><p>The job failed.</p></li></ul>"
    page.evaluate("(notes) => document.querySelector('#main').insertAdjacentHTML('afterbegin', notes)", notes)
    page.locator("#navigation").get_by_role("link", name="Incidents").focus()
    add_incident(add_failed(tenant))
    make_run(tenant, stuck_since=timezone.now(), stuck_cause="TypeError: <b>no</b>", correlation_key="PAY-1")
    assert LivePage(page, Run()).poll().response().status == 200
    page.get_by_role("link", name="Runs that Temporal cannot move").wait_for()
    assert page.get_by_text("TypeError: <b>no</b>").count() == 1
    assert page.evaluate("document.activeElement.querySelector('.n').textContent") == "1"  # the focus stays
    shown = page.get_by_text("The job continues.").count(), page.get_by_text("The job failed.").count()
    assert shown == (0, 1)


def test_page_of_a_job_has_one_time_of_reading_when_the_state_before_it_disappears(
    page: Any, site: str, tenant: Any, no_dispatcher: None
) -> None:
    make_run(tenant)
    job = start_job(tenant)
    sign_in(page, site, make_member(tenant, "operator"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_bulkjob_change', args=[job.id])}")
    page.locator("[data-live-read].live").wait_for()
    stop_clock(page)
    shown = page.locator(".head > .pill.lg")
    before = shown.count()
    BulkJob.objects.filter(id=job.id).update(state="done", ended_at=timezone.now(), next_slice_at=None)
    LivePage(page, Run()).poll()
    page.wait_for_function("before => document.querySelectorAll('.head > .pill.lg').length < before", arg=before)
    assert [page.locator(f"[data-live-{part}]").count() for part in ("read", "problem")] == [1, 1]


def test_ages_grow_between_two_readings(page: Any, site: str, tenant: Any) -> None:
    add_failed(tenant)
    sign_in(page, site, make_member(tenant, "viewer"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:index')}")
    page.evaluate(SET_HIDDEN, True)  # no poll
    age = page.locator("time[data-ago]").first
    assert re.fullmatch(r"\d+ (s|min) ago", age.inner_text())
    page.clock.run_for(3 * 3_600_000)
    assert re.fullmatch(r"3 h( \d+ min)? ago", age.inner_text())


def test_the_duration_of_an_open_run_and_of_its_step_grows_between_two_readings(
    page: Any, site: str, tenant: Any
) -> None:
    sign_in(page, site, make_member(tenant, "viewer"))
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run_with_open_step(tenant).id])}")
    page.evaluate(SET_HIDDEN, True)  # no poll
    page.clock.run_for(3 * 3_600_000)
    for place in (".runhead .line", "#why", ".tl .dur"):
        lasts = page.locator(f"{place} time[data-lasts]").first.inner_text()
        assert re.fullmatch(r"3 h( \d+ min)?", lasts), place


def run_with_open_step(tenant: Any) -> Run:
    """Create a run whose only step is an action that has begun."""
    config = {"actionId": "http.request", "version": 1, "inputMapping": {"url": "https://x.test"}}
    version = publish(tenant, {"id": "call", "type": "action.call", "config": config})
    run = make_run(tenant, definition_version=version, status="RUNNING", current_step_path="root.steps[0]")
    with projection_writer("test"):
        RunStep.objects.create(
            tenant=tenant, run=run, step_path="root.steps[0]", step_id="call", step_type="action.call",
            status="STARTED", started_at=timezone.now(), projection_seq=1,
        )  # fmt: skip
    return run


def make_member(tenant: Any, role: str) -> Any:
    user = get_user_model().objects.create_user(f"{role}-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role=role)
    return user
