"""Normalised messages and fingerprints of incidents. Source: docs/reference/incidents.md#grouping"""

import pytest

from workflows.services.incidents.messages import MAX_LENGTH, Cause, marker_values, normalised, parts_of

HOSTILE = (
    "a", "a@", "'", '"a', "1-", "\x00", "/a", "a.", "x=", "a://", "id:a-", "A-", "f", " /a/", "-A", "a=b,", "C:\\a\\",
    "user A", "user Aa ", "Aa ", ")=(",
)  # fmt: skip
UUID = "0192f0c4-7b1e-7c58-9d3a-6f5d3b1c2a11"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("No payment with the id PAY-144 exists.", "No payment with the id <id> exists."),
        ("order 4711 not found", "order <number> not found"),
        ("order 4,711.50 not found", "order <number> not found"),
        ("-5 is below 0", "<number> is below <number>"),
        (f"run {UUID} failed", "run <id> failed"),
        ("user pay_17 and INV2207", "user <id>"),
        ("Error 0xdeadbeef12", "Error <id>"),
        ("abc-12-def is not known", "<id> is not known"),
        ("unknown key \"a b\" in `x`, 'y' and “z”", "unknown key <text> in <text>"),
        ("can't reach the host, it didn't respond", "can't reach the host, it didn't respond"),
        ("HTTP 404 for /orders/12", "HTTP 404 for /orders/<number>"),
        ("HTTP/1.1 404 for 9", "HTTP/1.1 404 for <number>"),
        ("status code: 503 from 10.0.0.1:8080", "status code: 503 from <address>"),
        ("status 4040", "status <number>"),
        ("timeout after 30.5 s, 30s or 1234ms", "timeout after <number> s, <number>s or <number>ms"),
        ("mail to a.b+c@d.example bounced", "mail to <mail> bounced"),
        ("at 2026-11-24T13:58:10.123Z", "at <time>"),
        ("on 2026-11-24 13:58:10+01:00, at 13:58:10", "on <time>, at <time>"),
        ("ids 1, 2, 3 and 4 are wrong", "ids <number> are wrong"),
        ("GET https://api.example/v2/orders/99?x=1.", "GET <url>."),
        ("no route to bank-a.example:443, localhost:8080", "no route to <host>"),
        ("cannot resolve bank-a.example", "cannot resolve <host>"),
        ("host b.c.example is down", "host <host> is down"),
        ("payload.amount is missing", "payload.amount is missing"),
        ("/payload/currency is required", "/payload/currency is required"),
        ("error in views.py:12", "error in views.py:<number>"),
        ("/data/in/alpha.pdf and C:\\in\\b.csv", "<path>"),
        ("customer=halden, code=CLOSED, n=3", "customer=<text>, code=CLOSED, n=<text>"),
        ("customer: halden-bikes, user #J.W", "customer: <text>, user #<text>"),
        ("order: not found", "order: not found"),
        ("the key CUSTOMER_ALPHA of order PAY-ABC", "the key <id> of order <id>"),
        ("customer Anna Meyer not found", "customer <text> not found"),
        ("Customer Jürgen von der Heide-Lang is blocked", "Customer <text> is blocked"),
        ("supplier Harrow & Pike Ltd has no account", "supplier <text> has no account"),
        ("user Anna is blocked, user Unknown", "user Anna is blocked, user Unknown"),
        ("Bank Of Elsewhere is closed", "Bank Of Elsewhere is closed"),
        ("Key (name)=(Anna) already exists.", "Key (name)=(<text>) already exists."),
        ("NOT_FOUND or TIMEOUT", "NOT_FOUND or TIMEOUT"),
        ("token deadbeefcafe expired", "token <id> expired"),
        ("Straße kaputt: Ängste-über", "Straße kaputt: Ängste-über"),
        ("  two \n lines\t", "two lines"),
        ("", ""),
        ("<script>alert(1)</script> \u202e12", "<script>alert(<number>)</script> \u202e<number>"),
        ("Straße 5 in Köln", "Straße <number> in Köln"),
    ],
)
def test_differing_parts_become_markers(message: str, expected: str) -> None:
    assert normalised(message) == expected
    assert normalised(expected) == expected  # a normalised message stays equal
    original = "".join(part.text if part.value is None else part.value for part in parts_of(message))
    assert original == " ".join(message.split())


def test_long_and_hostile_messages_are_bounded() -> None:
    assert len(normalised("word " * 1_000)) <= MAX_LENGTH
    for part in HOSTILE:
        hostile = part * (4_000 // len(part))
        assert len(normalised(hostile)) <= MAX_LENGTH


def test_values_in_place_of_the_markers_are_those_of_messages_of_the_group() -> None:
    messages = ["PAY-1 at 10.0.0.1: ids 1, 2", "PAY-2 at 10.0.0.1: ids 3", "another message"]
    found = marker_values("<id> at <address>: ids <number>", messages)
    assert [(each.marker, each.values, each.messages) for each in found] == [
        ("<id>", ["PAY-1", "PAY-2"], 2), ("<address>", ["10.0.0.1"], 2), ("<number>", ["1, 2", "3"], 2),
    ]  # fmt: skip
    assert marker_values("<id> at <address>", ["no such message"]) == []


def test_each_value_of_the_cause_changes_the_fingerprint() -> None:
    cause = {"definition_id": "d", "step_id": "s", "category": "c", "code": "x", "message": "m"}
    prints = {Cause(**{**cause, name: "other"}).fingerprint() for name in cause}
    assert len(prints | {Cause(**cause).fingerprint()}) == len(cause) + 1
