"""The frame in a browser: the palette and the skip link by keyboard, the time zone, the theme and the menu.

Source: docs/reference/screens.md#frame, docs/reference/screens.md#command-palette, docs/reference/screens.md#times
"""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support.browser import member_context
from tests.support.factories import eventually
from tests.support.story.places import story_ids, story_run

FOCUSED = "() => document.activeElement.id || document.activeElement.className"


@pytest.fixture
def maya(site: str, browser: Any, story: Any) -> Iterator[Any]:
    """Return a page of the operator Maya, whose browser is in Berlin."""
    context = member_context(browser, site, story.users["Maya"], timezone_id="Europe/Berlin", color_scheme="light")
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def test_a_run_is_found_by_the_number_of_its_key_with_the_keyboard_alone(maya: Any, site: str, story: Any) -> None:
    maya.goto(f"{site}/admin/support/")
    maya.keyboard.press("/")
    maya.keyboard.type("4471")
    maya.get_by_role("option", name="TCK-4471").wait_for()
    maya.keyboard.press("ArrowDown")
    maya.keyboard.press("ArrowUp")
    maya.keyboard.press("Enter")
    maya.wait_for_url(f"**/run/{story_run(story, 'TCK-4471').id}/change/")
    assert "TCK-4471" in maya.inner_text("main")


def test_the_palette_opens_inside_a_field_and_gives_the_focus_back(maya: Any, site: str) -> None:
    maya.goto(f"{site}/admin/workflows/event/send/")
    field = maya.locator("input[name=event_type]")
    field.focus()
    maya.keyboard.type("a/b")
    assert field.input_value() == "a/b"
    maya.keyboard.press("Control+k")
    maya.get_by_role("option", name="Command ledger").wait_for()
    maya.keyboard.type("no such thing")
    maya.get_by_text("in its name, or begins or ends with it").wait_for()
    maya.keyboard.press("Escape")
    assert not maya.locator("#palette").is_visible()
    assert maya.evaluate("() => document.activeElement.name") == "event_type"


def test_the_first_tab_stop_skips_to_the_page(maya: Any, site: str) -> None:
    maya.goto(f"{site}/admin/workflows/command/")
    maya.keyboard.press("Tab")
    assert maya.evaluate(FOCUSED) == "skip"
    maya.keyboard.press("Enter")
    assert maya.evaluate(FOCUSED) == "main"
    maya.keyboard.press("Tab")
    assert maya.evaluate("() => document.activeElement.closest('main') !== null")


def test_times_are_local_until_the_member_chooses_utc(maya: Any, site: str, story: Any) -> None:
    local = story.now.astimezone(ZoneInfo("Europe/Berlin")).tzname()  # CET, or CEST in summer
    maya.goto(f"{site}/admin/workflows/command/")
    maya.reload()  # the first page has written the cookie

    def zone() -> str:
        """Return the zone in the full text of a time, as in `2026-11-29 13:47:20.000 CET = ...`."""
        return str(maya.locator("main time[title]").first.get_attribute("title")).partition(" = ")[0].rpartition(" ")[2]

    assert zone() == local
    maya.locator(".me summary").click()
    maya.get_by_role("radio", name="UTC").click()  # `check` would look at the page that the click replaces
    eventually(lambda: zone() == "UTC", what="times are in UTC")
    maya.locator(".me summary").click()
    maya.get_by_role("radio", name="local time").click()
    eventually(lambda: zone() == local, what="times are local again")


def test_theme_and_menu(maya: Any, site: str) -> None:
    is_dark = "() => document.documentElement.classList.contains('dark')"
    maya.goto(f"{site}/admin/support/")
    assert not maya.evaluate(is_dark)
    maya.get_by_label("Switch between light and dark").click()
    maya.reload()
    assert maya.evaluate(is_dark), "the choice must stay"
    maya.set_viewport_size({"width": 390, "height": 844})
    menu = maya.get_by_role("button", name="Menu")
    menu.click()
    maya.get_by_role("link", name="Command ledger").wait_for()
    maya.keyboard.press("Escape")
    assert not maya.locator("#side").is_visible()
    assert menu.get_attribute("aria-expanded") == "false"


@pytest.mark.parametrize("page", ["event", "command"])
def test_filter_menu_closes_with_escape(maya: Any, site: str, page: str) -> None:
    maya.goto(f"{site}/admin/workflows/{page}/")
    menu = maya.locator("details.menu")
    menu.locator("summary").press("Enter")
    assert menu.get_attribute("open") is not None
    maya.keyboard.press("Escape")
    assert menu.get_attribute("open") is None
    assert maya.evaluate("() => document.activeElement.tagName") == "SUMMARY"


def test_copy_works_without_https(maya: Any, site: str, story: Any) -> None:
    """A browser has no clipboard on a page of plain http."""
    maya.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    maya.goto(f"{site}/admin/workflows/event/{story_ids(story)['event']}/change/")
    maya.get_by_role("button", name="Copy the event id").press("Enter")
    maya.get_by_role("button", name="Copied").wait_for()
    maya.evaluate("document.body.replaceChildren(document.createElement('textarea'))")
    maya.locator("textarea").press("Control+v")
    assert maya.locator("textarea").input_value() == "mail-8831"


def test_a_stuck_run_is_found_from_the_dashboard(maya: Any, site: str, story: Any) -> None:
    """Question 1 and 2 of an operator: which run needs me now, and why is it stuck?"""
    rows = maya.locator("table.runs tbody tr")

    def numbers() -> tuple[int, int]:
        maya.goto(f"{site}/admin/")
        overdue = maya.locator(".needs li", has_text="overdue wait")
        count = int(overdue.locator(".cnt").inner_text())
        overdue.locator("a.what").click()
        rows.first.wait_for()
        return count, rows.count()

    # A retry of the story may become overdue between the two pages. A second reading then finds it on both.
    count, listed = numbers()
    if count != listed:
        count, listed = numbers()
    assert count == listed
    rows.get_by_role("link", name="TCK-4398").click()
    maya.wait_for_url(f"**/run/{story_run(story, 'TCK-4398').id}/change/**")
    assert "TICKET_CUSTOMER_REPLIED" in maya.inner_text(".why")


def test_a_viewer_is_refused_and_learns_the_reason(site: str, browser: Any, story: Any) -> None:
    """The actions of an operator are absent for a viewer, and their addresses refuse a viewer with the reason."""
    context = member_context(browser, site, story.users["Vera"])
    page, run = context.new_page(), story_run(story, "TCK-4471")
    page.goto(f"{site}/admin/workflows/run/{run.id}/change/")
    assert page.get_by_role("link", name="Cancel…").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("heading", name="Near misses").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the near misses are too wide"
    page.goto(f"{site}/admin/workflows/run/{run.id}/cancel/")
    assert "role operator" in page.inner_text("main")
    assert page.get_by_role("button", name="Cancel the run").count() == 0
    context.close()
