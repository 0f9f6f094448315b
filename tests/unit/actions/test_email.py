"""`email.send`: headers that would be more than one line, and the number of recipients."""

import uuid
from dataclasses import replace

import pytest
from django.core import mail
from pydantic import ValidationError

from workflows.actions.mail import EmailInput, send_email
from workflows.actions.registry import ActionContext, ActionFailed

CONTEXT = ActionContext(uuid.UUID(int=1), uuid.UUID(int=2), "root.steps[0]", "key-1", 30)
LINE_BREAKS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x7f"]


@pytest.mark.parametrize("line_break", LINE_BREAKS)
def test_a_line_break_in_a_header_is_refused(line_break: str, settings: object) -> None:
    text = f"Hello{line_break}Bcc: other@example.org"
    codes = []
    for subject, key in ((text, "key-1"), ("Hello", text)):
        with pytest.raises(ActionFailed) as failure:
            send_email(EmailInput(to=["a@example.org"], subject=subject), replace(CONTEXT, idempotency_key=key))
        codes.append((failure.value.category, failure.value.code))
    assert codes == [("ValidationError", "EMAIL_SUBJECT_INVALID"), ("ValidationError", "EMAIL_INVALID")]
    assert [sent for sent in getattr(mail, "outbox", []) if "other@example.org" in str(sent.extra_headers)] == []


@pytest.mark.parametrize("field", ["to", "cc", "bcc", "reply_to"])
@pytest.mark.parametrize("line_break", LINE_BREAKS)
def test_a_line_break_in_a_recipient_is_refused(field: str, line_break: str) -> None:
    valid = {"to": ["a@example.org"], "subject": "Hello"}
    for recipient in ({"email": "b@example.org", "name": f"B{line_break}C"}, f"b{line_break}@example.org"):
        with pytest.raises(ValidationError):
            EmailInput.model_validate({**valid, field: [recipient]})


def test_to_cc_and_bcc_are_bounded_together() -> None:
    def recipients(count: int) -> list[str]:
        return [f"p{number}@example.org" for number in range(count)]

    fields = {"to": recipients(40), "cc": recipients(30), "subject": "Hello"}
    assert EmailInput.model_validate({**fields, "bcc": recipients(30)})
    with pytest.raises(ValidationError, match="at most 100 recipients in to, cc and bcc together"):
        EmailInput.model_validate({**fields, "bcc": recipients(31)})
