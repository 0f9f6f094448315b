"""Every page is usable by everyone: axe finds nothing serious, no page is wider than the screen, the keyboard suffices.

The pages come from the access table, so a page that is added later is tested too.
Source: docs/reference/screens.md#accessibility
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.support.access import RANKS
from tests.support.browser import TOO_WIDE, member_context
from tests.support.story.places import Place, story_places
from workflows.statuses import Role

MEMBERS = {Role.ADMIN: "Nora", Role.OPERATOR: "Maya", Role.VIEWER: "Vera"}
WIDTHS = (390, 768, 1180, 1920)
SERIOUS = ("serious", "critical")
# Only these rules depend on colours, so the dark theme needs no others.
RULES_OF_COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
FINDINGS = """async (options) => (await axe.run(document, {resultTypes: ["violations"], ...options})).violations.map(
    (found) => [found.impact, found.id, found.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")])"""
SET_DARK = "(isDark) => document.documentElement.classList.toggle('dark', isDark)"


@pytest.fixture
def opened(site: str, browser: Any, story: Any) -> Iterator[Any]:
    """Return a function that opens a page for a member, with axe loaded."""
    contexts = []

    def open_as(role: Role) -> Any:
        context = member_context(browser, site, story.users[MEMBERS[role]], color_scheme="light")
        context.add_init_script(Axe().axe_script)
        contexts.append(context)
        return context.new_page()

    yield open_as
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def checked() -> set[str]:
    """Return the contents that were checked already. Most pages look the same to several roles."""
    return set()


def places_of(story: Any, role: Role) -> list[Place]:
    """Return the pages that this role may open."""
    places = story_places(story, MEMBERS[role])
    return [place for place in places if RANKS.index(role) >= RANKS.index(Role(place.needs))]


def content_of(page: str) -> str:
    """Return the content of a page without tokens, keys and times. The frame around it looks the same on each page."""
    main = re.search(r"<main\b.*</main>", page, re.DOTALL)
    assert main, "the page has no <main>"
    return re.sub(r'value="[^"]*"|\d', "", main[0])


def serious(page: Any) -> Iterator[str]:
    for theme, options in (("light", {}), ("dark", RULES_OF_COLOURS)):
        page.evaluate(SET_DARK, theme == "dark")
        for impact, rule, where in page.evaluate(FINDINGS, options):
            if impact in SERIOUS:
                yield f"{theme}: {rule} ({impact}) at {where}"


def too_wide(page: Any) -> Iterator[str]:
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        if wide := page.evaluate(TOO_WIDE):
            yield f"at {width}: {wide}"
    page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", list(MEMBERS))
def test_axe_finds_nothing_serious_and_every_page_fits_the_screen(
    opened: Any, site: str, story: Any, checked: set[str], role: Role
) -> None:
    page, problems = opened(role), []
    is_first = not checked  # this role sees almost nothing that was checked already
    for place in places_of(story, role):
        # Without the browser, a page costs only its response. The first role needs no such comparison.
        loaded = page.goto(site + place.address) if is_first else page.request.get(site + place.address)
        assert loaded.status == 200, f"{place.name}: status {loaded.status}"
        content = content_of(loaded.text())
        if content not in checked:
            checked.add(content)
            if not is_first:
                page.goto(site + place.address)
            page.evaluate("document.fonts.ready")
            problems += [f"{place.name}, {problem}" for problem in (*too_wide(page), *serious(page))]
    assert not problems, "\n".join(problems)
