"""Links between the pages of a list, as a page shows them."""

import re
from html import unescape
from typing import Any


def links_in(page: Any) -> dict[str, str]:
    """Return the query of each link of the first pager of a page by its words: "First page", "Previous", "Next"."""
    text = page.content.decode()
    pager = text.partition('<nav class="pager"')[2].partition("</nav>")[0]
    return {words: unescape(query) for query, words in re.findall(r'href="([^"]*)"[^>]*>([^<]+)</a>', pager)}
