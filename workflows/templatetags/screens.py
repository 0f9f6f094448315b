"""Template tags of the parts that all screens share. Source: docs/reference/screens.md#look"""

import re
from collections.abc import Iterator
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from workflows.models import BulkJob
from workflows.status_marks import MARKS, Mark
from workflows.statuses import BulkOutcome, BulkState, CommandAction

register = template.Library()
# Longest foreign value that is shown whole.
SHOWN_LENGTH = 48
_NUMBER_WITH_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|d|%)(?!\w))")
_NO_BREAK_SPACE = "\u00a0"
# A word of at most 32 characters with a hyphen inside and a digit: `PAY-105`, `2026-10-31`.
_KEY = re.compile(r"(?<![\w-])((?=[\w-]{0,31}\d)\w+(?:-\w+)+(?<![\w-]{33}))(?![\w-])")


@register.simple_tag
def icon(name: str) -> SafeString:
    """Render a symbol of `icons.svg`. Screen readers skip it, so a text must say the same."""
    return format_html(
        '<svg class="i" viewBox="0 0 16 16" aria-hidden="true"><use href="{}#{}"/></svg>',
        static("portal/icons.svg"),
        name,
    )


@register.simple_tag
def actor_name(kind: str, name: str) -> SafeString:
    """Render the person or the program that did something. `kind` is `user`, `token` or `system`."""
    return format_html("<bdi>{}</bdi>{}", name, " (API token)" if kind == "token" else "")


@register.simple_tag
def icon_at(name: str, tone: str, x: int, y: int) -> SafeString:
    """Render a symbol of `icons.svg` inside another SVG, with its upper left corner at this place. Units: pixels."""
    return format_html(
        '<use class="ic c-{}" href="{}#{}" x="{}" y="{}" width="16" height="16"/>',
        tone,
        static("portal/icons.svg"),
        name,
        x,
        y,
    )


@register.simple_tag
def status(kind: str, value: str, size: str = "") -> SafeString:
    """Render a status as word, icon and colour.

    `kind` is a key of `status_marks.MARKS`. `size` is "lg" in the title of a page.
    """
    return mark_pill(MARKS[kind][value], size)


@register.simple_tag
def mark_pill(mark: Mark, size: str = "") -> SafeString:
    """Render a word with its icon and its colour. `size` is "lg" in the title of a page."""
    return format_html('<span class="pill c-{} {}">{}{}</span>', mark.tone, size, icon(mark.icon), mark.word)


@register.simple_tag
def status_icon(kind: str, value: str) -> SafeString:
    """Render only the icon of a status, with its word for screen readers."""
    word, name, tone = MARKS[kind][value]
    return format_html('<span class="st c-{}">{}<span class="sr">{}</span></span>', tone, icon(name), word)


@register.simple_tag
def foreign(value: str, length: int = SHOWN_LENGTH) -> SafeString:
    """Render a value that another system chose, for example a correlation key. A long value is shortened.

    `<bdi>` keeps characters that change the writing direction inside the value.
    """
    if len(value) <= length:
        return format_html("<bdi>{}</bdi>", value)
    return format_html('<bdi title="{}">{}…</bdi>', value, value[: length - 1])


@register.simple_tag
def copy_button(value: str, what: str = "value") -> SafeString:
    """Render a button that copies the whole value. The page needs the script `portal/copy.js`."""
    return format_html(
        '<button class="copy" type="button" data-copy="{}" aria-label="Copy the {}">{}</button>',
        value,
        what,
        icon("copy"),
    )


@register.simple_tag
def tone(kind: str, value: str) -> str:
    """Return the class of the colour of a status."""
    return f"c-{MARKS[kind][value].tone}"


@register.filter
def status_word(value: str, kind: str) -> str:
    """Return the word of a status."""
    return MARKS[kind][value].word


@register.simple_tag
def outcome_chip(value: str, job: BulkJob) -> SafeString:
    """Render the icon and the word of an outcome. In a preview, an eligible run is a run that will get the request."""
    word, name, _ = MARKS["outcome"][value]
    if job.state == BulkState.PREVIEW and value == BulkOutcome.PENDING:
        word, name = ("Will start" if job.action == CommandAction.REPLAY else "Gets the request"), "ok"
    return format_html("{}{}", icon(name), word)


@register.filter
def grouped(number: int) -> str:
    """Return a count with separators between groups of three digits: `11,940`."""
    return f"{number:,}"


@register.filter
def breakable(text: Any, after: str) -> SafeString:
    """Render a name or an address that the browser may break after these characters. Two of them stay together."""
    signs = re.escape(after)
    parts = re.split(rf"(?<=[{signs}])(?![{signs}])", str(text))
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts))


@register.filter
def whole_keys(text: Any) -> SafeString:
    """Render a text in which no line ends inside a key or a date: a browser breaks a line after each hyphen.

    A long key can still be broken, so that it stays inside a narrow column.
    """
    parts = _KEY.split(str(text))  # every second part is a key
    keys = ["", *(format_html('<span class="nowrap">{}</span>', key) for key in parts[1::2])]
    return format_html_join("", "{}{}", zip(keys, parts[::2], strict=True))


@register.filter
def sentence(text: Any) -> str:
    """Return a text with a full stop at its end. Texts of people and of other systems often have one already."""
    shown = str(text).rstrip()
    return shown if shown.endswith((".", "!", "?", "…")) else f"{shown}."


@register.filter
def quoted(text: Any) -> str:
    """Return a text of a person in quotes, as the end of a sentence: `“Paid twice.”` or `“paid twice”.`"""
    shown = str(text).rstrip()
    return f"“{shown}”" if sentence(shown) == shown else f"“{shown}”."


@register.filter
def code_marks(text: Any) -> SafeString:
    """Render the parts of a text between backticks as code. Texts of actions and of forms mark names in this way."""
    shown = str(text)
    parts = shown.split("`")
    if isinstance(shown, SafeString) or len(parts) % 2 == 0:  # markup, or a backtick without a partner
        return format_html("{}", shown)
    return format_html_join("", "{}{}", _coded(parts))


def _coded(parts: list[str]) -> Iterator[tuple[str, SafeString | str]]:
    for place in range(0, len(parts), 2):
        code = parts[place + 1] if place + 1 < len(parts) else ""
        yield parts[place], format_html("<code>{}</code>", code) if code else ""


@register.filter
def with_article(noun: Any) -> str:
    """Return a noun with its indefinite article: `a schedule`, `an event type`."""
    return f"{'an' if str(noun)[:1] in 'aeiou' else 'a'} {noun}"


@register.filter
def kept_units(text: str) -> str:
    """Return the text with a no-break space between each number and its unit."""
    return _NUMBER_WITH_UNIT.sub(_NO_BREAK_SPACE, text)
