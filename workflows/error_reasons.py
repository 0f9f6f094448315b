"""Errors as readers see them: redacted, and with the reason that a target system gave in the body of its response.

The message of an HTTP error has the status only. Messages group incidents, and the text of a body can differ in each
failure. So the reason is found when the error is shown. It is redacted like the body, because it is a part of it.

Source: docs/reference/screens.md#run-page
"""

from typing import Any

from workflows.json_numbers import read_stored_json
from workflows.redaction import HIDDEN, Rules, redact

MOST_CHARACTERS = 200
# Members that hold the error itself, the text and the code. RFC 9457 has `title` and `detail`, OAuth 2 has `error` and
# `error_description`.
_INNER = ("error", "errors", "fault")
_TEXTS = ("detail", "message", "error_description", "error_message", "title", "reason", "error")
_CODES = ("code", "error_code", "errorCode", "error")
_DEEPEST = 3


def error_shown(error: Any, rules: Rules, *, sees_payloads: bool) -> Any:
    """Return a redacted copy of an error. For a reader who sees payloads, the message has the reason of the response.

    A body that is JSON is returned as JSON, so that the rules apply to its members.
    """
    if not isinstance(error, dict):
        return redact(error, rules, "/error")
    details = error.get("details")
    if not isinstance(details, dict) or not isinstance(details.get("body"), str):
        return redact(error, rules, "/error")
    shown = redact({**error, "details": {**details, "body": _parsed(details["body"])}}, rules, "/error")
    if sees_payloads and isinstance(shown.get("details"), dict):
        reason, message = reason_in(shown["details"].get("body")), str(shown.get("message", ""))
        text = reason.rsplit(" (", 1)[0]  # an action that put the text into its message says it once
        if reason and text not in message and message != HIDDEN:
            # The reason is first, because narrow columns cut the end.
            shown["message"] = f"{reason}. {message}".rstrip()
    return shown


def reason_in(body: Any, *, depth: int = _DEEPEST) -> str:
    """Return the reason in the body of a response, without a full stop at its end, or an empty text.

    Units: at most `MOST_CHARACTERS` characters.
    """
    if isinstance(body, str):
        text = " ".join(body.split())
        return "" if text.startswith(("<", "{", "[")) else _bounded(text)  # a page, or JSON that was cut
    if isinstance(body, list):
        return reason_in(body[0], depth=depth - 1) if body and depth else ""
    if not isinstance(body, dict):
        return ""
    inner = next((body[name] for name in _INNER if isinstance(body.get(name), dict | list)), None)
    if inner and depth and (found := reason_in(inner, depth=depth - 1)):
        return found
    text, code = _first(body, _TEXTS), _first(body, _CODES)
    if not text or not code or code in text:
        return _bounded(text or code)
    return f"{_bounded(text)} ({code[:60]})"


def _first(body: dict[str, Any], names: tuple[str, ...]) -> str:
    """Return the first text or number with one of these names. A hidden value is no reason."""
    for name in names:
        value = body.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and value not in ("", HIDDEN):
            return " ".join(str(value).split())
    return ""


def _bounded(text: str) -> str:
    text = text.rstrip(".")
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 1]}…"


def _parsed(body: str) -> Any:
    try:
        return read_stored_json(body)
    except (ValueError, RecursionError):
        return body
