"""Hostile values in every field: nothing is executed, no page breaks, and no text reverses the text beside it.

Source: docs/reference/screens.md#all-screens
"""

from typing import Any

import pytest

from tests.support.browser import TOO_WIDE, member_context
from tests.support.story.hostile import make_hostile
from tests.support.story.places import story_places
from tests.support.story.tell import tell_story

# Texts with a reversing character that is not isolated from the text beside it: neither by an element with an
# isolating style nor by the end of a block.
NOT_ISOLATED = """() => {
    const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement;
        if (!node.data.includes("\\u202e") || parent.closest("script, style, textarea, option")) continue;
        let element = parent, isIsolated = false;
        for (; element && !isIsolated; element = element.parentElement) {
            const style = getComputedStyle(element);
            const isBlock = !style.display.startsWith("inline") && style.display !== "contents";
            isIsolated = /isolate|plaintext/.test(style.unicodeBidi);
            if (isBlock) { isIsolated ||= element.textContent.trim().endsWith(node.data.trim()); break; }
        }
        if (!isIsolated) found.push(`${parent.tagName}.${parent.className}: ${node.data.trim().slice(0, 30)}`);
    }
    return [...new Set(found)].slice(0, 4);
}"""

# The page is resized, not loaded again. The last width is that of a phone, at which the next page is loaded.
WIDTHS = (1920, 1440, 768, 390)


@pytest.mark.timeout(900)
def test_hostile_values_are_shown_as_text(site: str, browser: Any, database: None) -> None:
    desk = tell_story("hostile")
    places = story_places(desk, "Nora")
    make_hostile(desk)
    context = member_context(browser, site, desk.users["Nora"], width=390, height=844)
    page, problems = context.new_page(), []
    errors: list[str] = []
    page.on("dialog", lambda dialog: errors.append(f"dialog {dialog.message}"))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    for place in places:
        response = page.goto(site + place.address)
        if response.status != 200:
            problems.append(f"{place.name}: status {response.status}")
        if page.evaluate("() => window.hostile"):
            problems.append(f"{place.name}: markup of a value was executed")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 844})
            if wide := page.evaluate(TOO_WIDE):
                problems.append(f"{place.name}: wider than the screen of {width} px: {wide}")
        problems += [f"{place.name}: not isolated: {found}" for found in page.evaluate(NOT_ISOLATED)]
        problems += [f"{place.name}: {error}" for error in errors]
        errors.clear()
    context.close()
    assert not problems, "\n".join(problems)
