"""The run page in a browser: the failed step of a run with 1,100 steps, and the items of its loop."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from tests.support.browser import member_context, sign_in
from tests.support.long_runs import looping_run
from workflows.models import TenantMembership

EVIL = "<script>alert(1)</script>\u202e" + "k" * 200


def test_failed_step_of_1100_steps_and_the_items_of_its_loop(page: Any, site: str, tenant: Any) -> None:
    user = get_user_model().objects.create_user(f"operator-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="operator")
    run = looping_run(tenant, items=1_098, failed_every=100, fails=True, correlation_key=EVIL)
    sign_in(page, site, user)
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run.id])}")

    assert "“The last step” failed" in page.inner_text(".why h2")
    assert page.get_by_role("link", name="Steps 1100").get_attribute("aria-current") == "page"
    assert "1100 ran: 1089 ok, 10 caught, 1 failed" in page.inner_text("#run-steps")
    panel, rows = page.locator("#panel"), page.locator(".tl .r")
    assert "LAST_FAILED" in panel.inner_text()
    assert rows.locator("a.name").all_inner_texts() == ["Each one", "One item", "The last step"]

    page.evaluate("window.notReloaded = true")
    page.get_by_role("link", name="Caught 10").click()
    page.get_by_text("10 of 10, item 1000").wait_for()
    page.get_by_role("link", name="Item before").focus()
    page.keyboard.press("Enter")
    page.get_by_text("9 of 10, item 900").wait_for()
    assert "iteration=899" in page.url
    page.get_by_role("link", name="One item").click()
    panel.get_by_role("heading", name="One item").wait_for()
    assert "ITEM_BAD" in panel.inner_text()
    assert "item 900" in panel.inner_text()
    page.get_by_role("spinbutton", name="Item").fill("150")
    page.keyboard.press("Enter")
    page.get_by_text("Item 150 of 1098").wait_for()
    assert "iteration=149" in page.url
    page.get_by_title("Item 151", exact=True).click()
    page.get_by_text("Item 151 of 1098").wait_for()
    assert "item 151" in panel.inner_text()
    assert page.evaluate("window.notReloaded"), "the page was reloaded"

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the long key breaks the layout"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways on a phone"


@pytest.mark.parametrize("width", [1440, 390])
def test_keys_and_links_are_not_cut_or_broken(browser: Any, site: str, tenant: Any, width: int) -> None:
    """A browser breaks lines after "-" and "/". The end of a path stays readable beside a long key."""
    user = get_user_model().objects.create_user(f"operator-{tenant.slug}", password="a long passphrase")
    TenantMembership.objects.create(tenant=tenant, user=user, role="operator")
    run = looping_run(tenant, items=1, fails=True, correlation_key="ORDER-2026/11-" * 12)
    context = member_context(browser, site, user, width=width)
    page = context.new_page()
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run.id])}")
    lines = "(e) => Math.round(e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight))"
    for selector in (".runhead .key", ".runhead .line a[target=_blank]"):
        assert page.locator(selector).evaluate(lines) == 1, selector
    page.goto(f"{site}{reverse('admin:workflows_run_replay', args=[run.id])}")
    last = page.locator(".crumb [aria-current]")
    assert last.inner_text() == "Replay this run?"
    assert last.evaluate("(e) => e.scrollWidth <= e.clientWidth"), "the last part of the path is cut"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
