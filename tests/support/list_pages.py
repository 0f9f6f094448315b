"""Links between the pages of a list, as a page shows them."""

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

VOID = {"input", "br", "img", "link", "meta", "hr", "col", "path", "use", "source"}


def links_in(page: Any) -> dict[str, str]:
    """Return the query of each link of the first pager of a page by its words: "First page", "Previous", "Next"."""
    text = page.content.decode()
    pager = text.partition('<nav class="pager"')[2].partition("</nav>")[0]
    return {words: unescape(query) for query, words in re.findall(r'href="([^"]*)"[^>]*>([^<]+)</a>', pager)}


class _PagerParents(HTMLParser):
    """Collects the attributes of the elements in which the first pager of a page is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.found: list[dict[str, str | None]] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if self.found is None and given.get("class") == "pager":
            self.found = [of for _, of in self.open]
        if tag not in VOID:
            self.open.append((tag, given))

    def handle_endtag(self, tag: str) -> None:
        while tag in {name for name, _ in self.open} and self.open.pop()[0] != tag:
            pass


def pager_is_live(page: Any) -> bool:
    """Return True if an update of the live page also replaces the links of its pager."""
    parents = _PagerParents()
    parents.feed(page.content.decode())
    assert parents.found is not None, "the page has no pager"
    return any("data-live" in given for given in parents.found)
