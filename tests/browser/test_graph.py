"""The graph in a browser: steps are reached and opened with the keyboard, and texts stay inside their steps."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse

from tests.support.axe import serious_findings
from tests.support.browser import member_context, sign_in
from tests.support.factories import make_run, publish
from tests.support.graph_documents import work
from tests.support.step_rows import record_steps
from tests.support.story.places import story_ids, story_run

pytestmark = pytest.mark.usefixtures("no_dispatcher")

NAMES = (
    "Bank confirms settlement",
    "WWWWMMMM QQQQ ÄÖÜ",
    "<script>alert(1)</script>",
    "pay\u202egnp.exe",
    "汉字" * 50,
    "i" * 200,
)
OUTSIDE = """() => [...document.querySelectorAll('.g .nd')].filter(step => {
  const box = step.querySelector('rect').getBoundingClientRect();
  return [...step.querySelectorAll('text')].some(text => text.getBoundingClientRect().right > box.right - 2);
}).map(step => step.getAttribute('aria-label'))"""


def test_graph_and_map_have_no_serious_axe_finding(browser: Any, site: str, story: Any) -> None:
    definition, run = story_ids(story)["definition"], story_run(story, "PAY-105")
    addresses = (
        f"{reverse('admin:workflows_run_change', args=[run.id])}?tab=graph",
        *(f"{reverse('admin:workflows_definition_change', args=[definition])}?version=2&tab={tab}"
          for tab in ("map", "versions", "text", "starts", "audit")),
    )  # fmt: skip
    context = member_context(browser, site, story.users["Maya"], width=1440, height=900, color_scheme="light")
    context.add_init_script(Axe().axe_script)
    page = context.new_page()
    for address in addresses:
        page.goto(site + address)
        assert list(serious_findings(page)) == [], address
    context.close()


def test_step_is_focused_and_opened_with_the_keyboard(
    page: Any, site: str, driver: Any, member: dict[str, Any]
) -> None:
    version = publish(driver.tenant, *(work(f"s{n}", name=name) for n, name in enumerate(NAMES)))
    run = make_run(driver.tenant, definition_version=version, current_step_path="root.steps[1]")
    record_steps(run, ("root.steps[0]", "SUCCEEDED", {}))
    sign_in(page, site, member["viewer"])
    page.goto(f"{site}{reverse('admin:workflows_run_change', args=[run.id])}?tab=graph")
    assert page.evaluate(OUTSIDE) == []
    page.locator("div.g-wrap").focus()
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.get_attribute("data-step") == "root.steps[0]"
    assert "taken" in focused.get_attribute("aria-label")
    page.keyboard.press("Enter")
    page.wait_for_url("**step=root.steps**")
    assert page.locator("nav.tabs [aria-current]").inner_text().startswith("Steps")
    page.goto(f"{site}{reverse('admin:workflows_definition_change', args=[version.definition_id])}")
    assert page.evaluate(OUTSIDE) == []
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
