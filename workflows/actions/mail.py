"""Action `email.send`: one e-mail through Django's e-mail backend."""

import smtplib
import socket
import unicodedata
from email.errors import MessageError
from email.utils import formataddr, make_msgid
from typing import Annotated, Any, Self

from django.core.mail import EmailMultiAlternatives
from pydantic import AfterValidator, BaseModel, BeforeValidator, EmailStr, Field, model_validator

from workflows.actions.inputs import ActionInput
from workflows.actions.registry import ActionContext, ActionFailed, ActionOutcomeUnknown
from workflows.engine.errors import Category

MAX_RECIPIENTS = 100


def _is_one_line(text: str) -> bool:
    """Return True if a header can contain the text. The text must have no line break and no control character."""
    return not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in text.replace("\t", " "))


def _one_line(name: str) -> str:
    if not _is_one_line(name):
        raise ValueError("must be one line without control characters")
    return name


def _as_recipient(value: Any) -> Any:
    return {"email": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class MailAddress(ActionInput):
    """Recipient of an e-mail: an address, and the name that mail programs show."""

    email: EmailStr
    name: Annotated[str, Field(max_length=200), AfterValidator(_one_line)] | None = None

    def __str__(self) -> str:
        return formataddr((self.name, self.email)) if self.name else self.email


MailAddresses = Annotated[list[Annotated[MailAddress, BeforeValidator(_as_recipient)]], BeforeValidator(_as_list)]


class EmailInput(ActionInput):
    """Input of `email.send`.

    A recipient is text or `{email, name?}`. Instead of a list with one recipient, the author may write only the
    recipient. `idempotency_key`: in one tenant, only one e-mail is sent for a key, even if several runs use this key.
    """

    to: MailAddresses = Field(min_length=1)
    cc: MailAddresses = Field(default_factory=list)
    bcc: MailAddresses = Field(default_factory=list)
    reply_to: MailAddresses = Field(default_factory=list)
    subject: str = Field(min_length=1, max_length=500)
    text: str | None = None
    html: str | None = None
    idempotency_key: str | None = Field(default=None, max_length=500)

    @model_validator(mode="after")
    def _few_recipients(self) -> Self:
        count = len(self.to) + len(self.cc) + len(self.bcc)
        if max(count, len(self.reply_to)) > MAX_RECIPIENTS:
            raise ValueError(f"an e-mail has at most {MAX_RECIPIENTS} recipients in to, cc and bcc together")
        return self


class EmailOutput(BaseModel):
    """Output of `email.send`. `accepted` is the number of recipients."""

    message_id: str
    accepted: int


def send_email(value: EmailInput, context: ActionContext) -> EmailOutput:
    """Send one e-mail.

    Errors: ActionFailed if the server refused the e-mail or could not be reached; ActionOutcomeUnknown if the
    connection failed during the transfer.
    """
    _check_headers(value, context)
    message_id = make_msgid(domain="pointsman")
    mail = EmailMultiAlternatives(
        subject=value.subject,
        body=value.text or "",
        to=[str(address) for address in value.to],
        cc=[str(address) for address in value.cc],
        bcc=[str(address) for address in value.bcc],
        reply_to=[str(address) for address in value.reply_to],
        headers={"Message-ID": message_id, "X-Pointsman-Key": context.idempotency_key},
    )
    if value.html is not None:
        mail.attach_alternative(value.html, "text/html")
    try:
        mail.message().as_bytes()
    except (ValueError, LookupError, MessageError) as error:
        raise ActionFailed(
            f"The e-mail cannot be written: {error}. Correct the input of the step.",
            category=Category.VALIDATION,
            code="EMAIL_INVALID",
        ) from error
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
        # The server refused the e-mail or could not be reached. In both cases it has certainly not accepted the e-mail.
        raise ActionFailed(
            f"The e-mail was not sent: {error}", category=Category.TRANSIENT, code="EMAIL_FAILED"
        ) from error
    except (smtplib.SMTPException, OSError) as error:
        raise ActionOutcomeUnknown(
            f"The connection to the mail server broke during the transfer: {error}. The e-mail may have been sent."
            " Check with a recipient before you send it again."
        ) from error
    return EmailOutput(message_id=message_id, accepted=len(mail.recipients()))


def _check_headers(value: EmailInput, context: ActionContext) -> None:
    if not _is_one_line(value.subject):
        raise ActionFailed(
            "The subject has a line break or a control character. It must be one line.",
            category=Category.VALIDATION,
            code="EMAIL_SUBJECT_INVALID",
        )
    if not _is_one_line(context.idempotency_key):
        raise ActionFailed(
            "The idempotency key has a line break or a control character, so it cannot be sent in a header. Choose a"
            " key of one line.",
            category=Category.VALIDATION,
            code="EMAIL_INVALID",
        )
