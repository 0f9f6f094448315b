"""The reason of a failed HTTP call is found in the body of the response, and hidden values are no reason.

Source: docs/reference/screens.md#run-page
"""

import json
from typing import Any

import pytest

from workflows.error_reasons import MOST_CHARACTERS, error_shown, reason_in
from workflows.redaction import compiled


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"code": "CARD_EXPIRED", "message": "The card has expired."}, "The card has expired (CARD_EXPIRED)"),
        ({"type": "https://x.test/p", "title": "Bad", "detail": "The card has expired."}, "The card has expired"),
        ({"title": "Unprocessable"}, "Unprocessable"),
        ({"error": "invalid_grant", "error_description": "Token expired"}, "Token expired (invalid_grant)"),
        ({"error": {"message": "No such charge", "code": 404}}, "No such charge (404)"),
        ({"errors": [{"detail": "The name is too long"}, {"detail": "x"}]}, "The name is too long"),
        ({"error": "not found"}, "not found"),
        ({"errorCode": "E-17"}, "E-17"),
        ({"code": "E-17", "message": "E-17: no\n  stock"}, "E-17: no stock"),
        ([{"message": "first"}], "first"),
        ("upstream\ntimed out", "upstream timed out"),
        ({"error": {"error": {"error": {"error": {"error": "deep"}}}}}, ""),
        ({"message": True, "code": None, "detail": ["x"]}, ""),
        ("<html>Bad gateway</html>", ""),
        ('{"message": "cut', ""),
        ({}, ""),
        (None, ""),
        (17, ""),
    ],
)
def test_reason_in_a_body(body: Any, reason: str) -> None:
    assert reason_in(body) == reason


def test_reason_is_bounded() -> None:
    found = reason_in({"message": "x" * 5_000, "code": "C" * 5_000})
    assert len(found) <= MOST_CHARACTERS + 70


def error_with(body: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    message = "x.test responded with status 422."
    return {"message": message, "code": "HTTP_422", "details": {"status": 422, "body": text}}


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ((), "Ada has no card (NO_CARD). x.test responded with status 422."),
        (("message",), "[redacted]"),
        (("/error/details/body/message",), "NO_CARD. x.test responded with status 422."),
        (("/error/details",), "x.test responded with status 422."),
    ],
)
def test_hidden_parts_of_the_body_are_not_in_the_message(rules: tuple[str, ...], message: str) -> None:
    error = error_with({"code": "NO_CARD", "message": "Ada has no card."})
    assert error_shown(error, compiled(rules), sees_payloads=True)["message"] == message


def test_reason_that_the_message_has_already_is_not_repeated() -> None:
    error = {**error_with({"code": "NO_CARD", "message": "Ada has no card."}), "message": "Ada has no card."}
    assert error_shown(error, compiled(), sees_payloads=True)["message"] == "Ada has no card."


def test_reader_without_payloads_gets_the_message_only() -> None:
    error = error_with({"message": "Ada has no card."})
    assert error_shown(error, compiled(), sees_payloads=False)["message"] == "x.test responded with status 422."


@pytest.mark.parametrize("error", [None, {"message": "no"}, {"message": "no", "details": {"problems": []}}, "text"])
def test_other_errors_are_unchanged(error: Any) -> None:
    assert error_shown(error, compiled(), sees_payloads=True) == error
