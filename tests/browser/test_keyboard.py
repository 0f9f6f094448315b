"""The ten questions of an operator, answered with the keyboard alone: Ctrl-K, Tab, arrows and Enter.

Source: docs/reference/screens.md#accessibility
"""

from typing import Any

from tests.support.browser import member_context

MOST_STOPS = 400
HAS_FOCUS = """([inside, text]) => {
    const element = document.activeElement;
    return element.closest(inside) !== null && `${element.innerText} ${element.ariaLabel ?? ""}`.includes(text);
}"""


def follow_focus(page: Any) -> None:
    with page.expect_navigation():
        page.keyboard.press("Enter")


def tab_to(page: Any, text: str, inside: str) -> None:
    """Skip the navigation, and press Tab until the link or button with this text has the focus."""
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    tab_on(page, text, inside)


def tab_on(page: Any, text: str, inside: str, most: int = MOST_STOPS) -> None:
    """Press Tab at most this number of times until the link or button with this text has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate(HAS_FOCUS, [inside, text]):
            return
    raise AssertionError(f"Tab does not reach {text!r} in {inside} at {page.url}")


def open_by_tab(page: Any, text: str, inside: str) -> None:
    tab_to(page, text, inside)
    follow_focus(page)


def open_by_palette(page: Any, term: str, name: str) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type(term)
    page.get_by_role("option", name=name).first.wait_for()
    for _ in range(10):
        if name in page.inner_text("[role=option][aria-selected=true]"):
            return follow_focus(page)
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"the arrows do not reach {name!r}")


def test_ten_questions_are_answered_with_the_keyboard(browser: Any, site: str, story: Any) -> None:
    context = member_context(browser, site, story.users["Maya"])
    page = context.new_page()
    page.goto(f"{site}/admin/")
    open_by_tab(page, "overdue wait", ".needs a")  # 1: which run needs me now?
    open_by_tab(page, "TCK-4398", "table.runs a")
    assert page.inner_text(".why h2")  # 2: why is it stuck?
    open_by_palette(page, "mail-8831", "mail-8831")
    assert "What to do" in page.inner_text(".why")  # 3: why did nothing happen?
    open_by_palette(page, "Incidents", "Incidents")
    open_by_tab(page, "NOT_FOUND", ".inc a")  # 4: what fails, since when, how often, by one cause?
    assert page.get_by_role("heading", name="Failures per hour").is_visible()
    tab_to(page, "Skip to the replay", "a")  # 10: how do I retry 40 runs?
    page.keyboard.press("Enter")
    tab_on(page, "Preview", "#replay button", most=1)
    follow_focus(page)
    tab_on(page, "Start", "#replay button", most=20)  # each result has its own row (test_incidents.py)
    open_by_palette(page, "PAY-105", "PAY-105")
    assert page.locator("#panel pre").first.is_visible()  # 5: what did the failed step send and get?
    open_by_tab(page, "Graph", ".tabs")
    assert "Way taken" in page.inner_text("main")  # 6: which branch did the run take?
    open_by_palette(page, "PAY-094", "PAY-094")
    open_by_tab(page, "Audit", ".tabs")
    assert "Cancel" in page.inner_text("main table")  # 7: who canceled the run?
    open_by_palette(page, "Next", "Next")
    assert page.inner_text("h1") == "Next"  # 9: what comes due next?
    open_by_palette(page, "Dashboard", "Dashboard")
    open_by_tab(page, "System health", "[aria-labelledby=h-health] a")
    assert page.inner_text("h1") == "System health"  # 8: is the system healthy?
    context.close()
