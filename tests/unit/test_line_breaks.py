"""Places at which a browser may break a name, an address or a number with its unit."""

import pytest

from workflows.templatetags.screens import breakable, kept_units


@pytest.mark.parametrize(
    ("text", "after", "shown"),
    [
        ("TICKET_CUSTOMER_REPLY", "_.-", "TICKET_<wbr>CUSTOMER_<wbr>REPLY"),
        ("payload.Reply", "_.-", "payload.<wbr>Reply"),
        ("https://pay.example/v1/capture", "/", "https://<wbr>pay.example/<wbr>v1/<wbr>capture"),
        ("<b>_x", "_", "&lt;b&gt;_<wbr>x"),
        (5, "_", "5"),
    ],
)
def test_text_breaks_only_after_the_given_signs(text: object, after: str, shown: str) -> None:
    assert breakable(text, after) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("none older than 10 s", "none older than 10\u00a0s"),
        ("oldest 3 h 5 min", "oldest 3\u00a0h 5\u00a0min"),
        ("2 steps, 4 done", "2 steps, 4 done"),
    ],
)
def test_number_and_unit_stay_on_one_line(text: str, shown: str) -> None:
    assert kept_units(text) == shown
