"""Texts of people, actions and forms on pages: full stops, quotes, code, articles and words of sources."""

import pytest
from django.utils.html import format_html

from workflows.statuses import CommandSource, EventSource, Role
from workflows.templatetags.screens import code_marks, quoted, sentence, whole_keys, with_article


@pytest.mark.parametrize(
    ("text", "as_sentence", "in_quotes"),
    [
        ("paid twice", "paid twice.", "“paid twice”."),
        ("Paid twice.", "Paid twice.", "“Paid twice.”"),
        ("Paid twice? ", "Paid twice?", "“Paid twice?”"),
    ],
)
def test_text_ends_with_one_full_stop(text: str, as_sentence: str, in_quotes: str) -> None:
    assert (sentence(text), quoted(text)) == (as_sentence, in_quotes)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("`at` sets <b>", "<code>at</code> sets &lt;b&gt;"),
        ("sent as `text` or `<html>`.", "sent as <code>text</code> or <code>&lt;html&gt;</code>."),
        ("one ` alone", "one ` alone"),
        (format_html("<b>{}</b>", "`x`"), "<b>`x`</b>"),
    ],
)
def test_names_between_backticks_are_code(text: str, shown: str) -> None:
    assert code_marks(text) == shown


def test_no_line_ends_inside_a_key_or_a_date() -> None:
    def whole(key: str) -> str:
        return f'<span class="nowrap">{key}</span>'

    long = f"PAY-{'1' * 40}"
    shown = whole_keys(f"CB-51 <b> of PAY-127 (on 2026-10-31), e-mail {long}-2 a-")
    assert shown == (f"{whole('CB-51')} &lt;b&gt; of {whole('PAY-127')} (on {whole('2026-10-31')}), e-mail {long}-2 a-")


def test_nouns_have_their_article() -> None:
    assert [with_article(noun) for noun in ("schedule", "event type")] == ["a schedule", "an event type"]


def test_no_source_has_the_word_of_a_role() -> None:
    """A source is shown beside a person, so the word "Admin" would look like the person's role."""
    assert not {*EventSource.labels, *CommandSource.labels} & set(Role.labels)
