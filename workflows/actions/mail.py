"""Action `email.send`: one e-mail through Django's e-mail backend."""

import smtplib
import socket
from email.utils import make_msgid

from django.core.mail import EmailMultiAlternatives
from pydantic import BaseModel, ConfigDict, EmailStr, Field

from workflows.actions.registry import ActionContext, ActionFailed, ActionOutcomeUnknown
from workflows.engine.errors import Category


class EmailInput(BaseModel):
    """Input of `email.send`."""

    model_config = ConfigDict(extra="forbid")

    to: list[EmailStr] = Field(min_length=1, max_length=100)
    cc: list[EmailStr] = Field(default_factory=list)
    subject: str = Field(min_length=1, max_length=500)
    text: str = ""
    html: str | None = None
    reply_to: EmailStr | None = None


class EmailOutput(BaseModel):
    """Output of `email.send`. `accepted` is the number of recipients."""

    message_id: str
    accepted: int


def send_email(value: EmailInput, context: ActionContext) -> EmailOutput:
    """Send one e-mail.

    Errors: ActionFailed if the server refused the e-mail or was never reached; ActionOutcomeUnknown if the connection
    broke during the transfer.
    """
    if "\n" in value.subject or "\r" in value.subject:
        raise ActionFailed(
            "The subject has a line break. It must be one line.",
            category=Category.VALIDATION,
            code="EMAIL_SUBJECT_INVALID",
        )
    message_id = make_msgid(domain="pointsman")
    mail = EmailMultiAlternatives(
        subject=value.subject,
        body=value.text,
        to=list(value.to),
        cc=list(value.cc),
        reply_to=[value.reply_to] if value.reply_to else None,
        headers={"Message-ID": message_id, "X-Pointsman-Key": context.idempotency_key},
    )
    if value.html is not None:
        mail.attach_alternative(value.html, "text/html")
    try:
        mail.send()
    except smtplib.SMTPRecipientsRefused as error:
        raise ActionFailed(f"The mail server refused the recipients: {error}", code="EMAIL_REFUSED") from error
    except (
        smtplib.SMTPResponseException,
        smtplib.SMTPNotSupportedError,
        ConnectionRefusedError,
        socket.gaierror,
    ) as error:
        # The server refused the e-mail or was never reached, so it has certainly not accepted the e-mail.
        raise ActionFailed(
            f"The e-mail was not sent: {error}", category=Category.TRANSIENT, code="EMAIL_FAILED"
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise ActionOutcomeUnknown(
            f"The connection to the mail server broke during the transfer: {error}. The e-mail may have been sent."
            " Check with a recipient before you send it again."
        ) from error
    return EmailOutput(message_id=message_id, accepted=len(value.to) + len(value.cc))
