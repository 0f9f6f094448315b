"""Removal of secret values in every spelling from outputs, errors and log lines."""

import base64
import html
import json
import logging
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from workflows.actions import scrubbed_logs
from workflows.actions.scrubbing import ScrubbedError, Scrubber, scrub, scrubbing
from workflows.engine.errors import RunError

VALUE = 'k9"Zü/+ %x\\7&Qw'
MARK = "[secret KEY]"
SCRUBBER = Scrubber({"KEY": VALUE})


@pytest.mark.parametrize(
    "spell",
    [
        str, lambda v: quote(v, safe=""), quote, quote_plus, lambda v: quote(v, safe="").lower(), html.escape,
        lambda v: json.dumps(v)[1:-1], lambda v: json.dumps(v, ensure_ascii=False)[1:-1],
        lambda v: json.dumps(v)[1:-1].replace("/", "\\/"),
        lambda v: json.dumps(json.dumps(v)[1:-1])[1:-1], lambda v: repr(v)[1:-1], lambda v: repr(v.encode())[2:-1],
        lambda v: v.encode().hex(), lambda v: v.encode().hex().upper(), str.upper, str.lower,
        # Every character is escaped.
        lambda v: "".join(f"\\u{ord(c):04x}" for c in v), lambda v: "".join(f"\\u{ord(c):04X}" for c in v),
        lambda v: json.dumps("".join(f"\\u{ord(c):04x}" for c in v))[1:-1],
        lambda v: "".join(f"%{b:02X}" for b in v.encode()), lambda v: "".join(f"%25{b:02x}" for b in v.encode()),
        lambda v: "".join(f"&#{ord(c)};" for c in v), lambda v: "".join(f"&#x{ord(c):X};" for c in v),
        lambda v: "".join(f"\\x{b:02x}" for b in v.encode()), lambda v: "".join(f"={b:02X}" for b in v.encode()),
        lambda v: v.encode().hex(":"), lambda v: v.encode().hex(" "),
        lambda v: base64.b64encode(v.encode()).decode(), lambda v: base64.urlsafe_b64encode(v.encode()).decode(),
    ],
)  # fmt: skip
def test_every_spelling_is_replaced_in_longer_texts(spell: Callable[[str], str]) -> None:
    text = f"<{spell(VALUE)}> and again: {spell(VALUE)}."
    assert SCRUBBER.scrub(text) == f"<{MARK}> and again: {MARK}."


@pytest.mark.parametrize("before", ["", "a", "us", "user:"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_base64_of_a_longer_text_is_scrubbed(before: str, after: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        scrubbed = SCRUBBER.scrub(f"Basic {encode(f'{before}{VALUE}{after}'.encode()).decode()}!")
        assert MARK in scrubbed
        assert len(scrubbed.replace(MARK, "")) <= len("Basic !") + 4 * (len(before + after) + 5) // 3


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Bearer sk_live_0123456789", "token sk_live_0123456789 is wrong"),
        ("user:correct-horse", "no user with correct-horse"),
        ("Basic " + base64.b64encode(b"user:correct-horse").decode(), "password correct-horse"),
        ("https://hooks.example/services/T00/B00XXXX", "POST /services/T00/B00XXXX failed"),
        ("postgresql://me:correct-horse@db/x", "password correct-horse is wrong"),
        ("-----BEGIN-----\nMIIEvQIBADANBgkq\n-----END-----\n", "line MIIEvQIBADANBgkq"),
        (json.dumps({"type": "x", "keys": ["MIIEvQIBADANBgkq"]}), "key MIIEvQIBADANBgkq"),
        ("  padded-value \n", "got padded-value"),
    ],
)  # fmt: skip
def test_parts_of_a_value_are_replaced(value: str, text: str) -> None:
    assert MARK in Scrubber({"KEY": value}).scrub(text)


def test_json_values_are_scrubbed_at_every_depth_with_keys_and_numbers() -> None:
    scrubber = Scrubber({"PIN": "12345678", "WORD": "open sesame"})
    value = {"a": ["x open sesame y", {"open sesame": 12345678}], "n": 123456789, "t": True, "z": None, "f": 1.5}
    assert scrubber.scrub(value) == {
        "a": ["x [secret WORD] y", {"[secret WORD]": "[secret PIN]"}], "n": 123456789, "t": True, "z": None, "f": 1.5,
    }  # fmt: skip


def test_longer_value_is_replaced_first_and_a_second_scrub_changes_nothing() -> None:
    scrubber = Scrubber({"SHORT": "secret", "LONG": "secret-and-more"})
    once = scrubber.scrub("secret-and-more secret")
    assert once == "[secret LONG] [secret SHORT]"
    assert scrubber.scrub(once) == once


def test_cut_value_is_replaced() -> None:
    scrubber = Scrubber({"KEY": "abcdefghijklmnop"})
    assert scrubber.scrub("x" * 200 + "abcdefgh") == "x" * 200 + MARK
    assert scrubber.scrub("mnop" + "x" * 200) == MARK + "x" * 200
    assert scrubber.scrub("input='abcdefg...lmnop' here") == f"input='{MARK}...{MARK}' here"
    assert scrubber.scrub("abcdef… and so on") == f"{MARK}… and so on"
    assert scrubber.scrub("x" * 200 + "abc") == "x" * 200 + "abc"


def test_run_error_is_scrubbed() -> None:
    with pytest.raises(RunError) as failed, scrubbing({"KEY": VALUE}):
        raise RunError("ActionError", f"no {VALUE}", code=f"X_{VALUE}", details={"body": [VALUE]}) from ValueError(
            VALUE
        )
    error = failed.value
    assert (error.message, error.code, error.details) == (f"no {MARK}", f"X_{MARK}", {"body": [MARK]})
    assert (VALUE in str(error), error.__cause__) == (False, None)


def test_other_exception_is_replaced_only_if_it_has_the_value() -> None:
    with pytest.raises(KeyError), scrubbing({"KEY": VALUE}):
        raise KeyError("something else")
    for cause in (None, ValueError(f"inner {VALUE}")):
        with pytest.raises(ScrubbedError) as failed, scrubbing({"KEY": VALUE}):
            raise ConnectionError(f"outer {VALUE if cause is None else ''}") from cause
        assert "ConnectionError: outer" in str(failed.value)
        assert (MARK in str(failed.value), VALUE in str(failed.value)) == (True, False)
        assert failed.value.__cause__ is None
        assert failed.value.__suppress_context__


def test_nothing_is_changed_outside_of_an_action() -> None:
    with scrubbing({"KEY": VALUE}):
        assert scrub(VALUE) == MARK
    assert scrub(VALUE) == VALUE


# -- Log lines --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    scrubbed_logs.install()
    caplog.set_level(logging.DEBUG)
    return caplog


LOGGER = logging.getLogger("tests.scrubbing")


def test_messages_arguments_and_tracebacks_are_scrubbed(lines: pytest.LogCaptureFixture) -> None:
    with scrubbing({"KEY": VALUE}):
        LOGGER.info("sent %s", VALUE)
        LOGGER.info("sent %(what)s", {"what": [VALUE]})
        LOGGER.info(f"sent {VALUE}")
        LOGGER.info("too few %s %s", VALUE)
        try:
            raise ValueError(VALUE)
        except ValueError:
            LOGGER.exception("raised")
        LOGGER.info("untouched %s", 5)
    assert len(lines.records) == 6
    assert VALUE not in lines.text
    assert lines.text.count(MARK) >= 5
    assert "ValueError: [secret KEY]" in lines.text
    assert lines.records[-1].args == (5,)


def test_log_lines_of_a_thread_of_the_action_are_scrubbed(lines: pytest.LogCaptureFixture) -> None:
    with scrubbing({"KEY": VALUE}):
        thread = threading.Thread(target=LOGGER.info, args=("sent %s", VALUE))
        thread.start()
        thread.join()
    assert MARK in lines.text
    LOGGER.info("afterwards %s", VALUE)
    assert VALUE in lines.text


def test_extra_values_are_scrubbed_by_the_filter_of_the_handler(lines: pytest.LogCaptureFixture) -> None:
    lines.handler.addFilter(scrubbed_logs.ScrubFilter())
    with scrubbing({"KEY": VALUE}):
        LOGGER.info("sent", extra={"headers": {"auth": VALUE}})
    added: Any = lines.records[0]
    assert added.headers == {"auth": MARK}
