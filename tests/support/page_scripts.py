"""Scripts that a page loads, and the elements for which it needs them."""

import re

# Attributes of the frame. They are on each page that loads Alpine.
FRAME = re.compile(r'<html[^>]*>|<body[^>]*>|hx-history="false"')
ALPINE = r"\s(?:x-[a-z]|@[a-z])[^\s=<>]*="
USES = {
    "unfold/js/alpine/alpine.js": ALPINE,
    "unfold/js/app.js": ALPINE,
    "unfold/js/htmx/htmx.js": r"\shx-",
    "portal/copy.js": r"\sdata-(?:copy|version)=",
    "portal/menus.js": r'<details class="menu\b',
}


def wrong_scripts(html: str) -> list[str]:
    """Return the scripts that a page loads without an element that uses them, and those that it lacks."""
    content = FRAME.sub("", html)
    return [name for name, use in USES.items() if (name in html) != bool(re.search(use, content))]
