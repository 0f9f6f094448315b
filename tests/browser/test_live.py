"""Live pages in a browser: only what differs changes, a failed request does not end the updates, a hidden tab is quiet.

The tests move the clock of the page, so that they do not depend on the speed of the machine.
"""

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from tests.support.browser import sign_in
from tests.support.factories import make_run
from workflows.models import Run, TenantMembership
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


@pytest.fixture
def live(page: Any, site: str, tenant: Any) -> LivePage:
    user = get_user_model().objects.create_user(f"viewer-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="viewer")
    run = make_run(tenant, state="BEFORE")
    sign_in(page, site, user)
    page.clock.install()
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run.id])}")
    page.locator("[data-live-read].live").wait_for()
    return LivePage(page, run)


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
