"""Invitations by e-mail: requests of administrators, and the link in the latest e-mail."""

import re
import uuid
from typing import Any

from django.test import Client

from tests.support.api import Api
from tests.support.mail_server import Mailbox

PAGE, PASSWORD = "/invitation", "a long enough phrase"


def invite(admin: Api, email: str, role: str = "operator") -> dict[str, Any]:
    made = admin.post("/invitations", {"email": email, "role": role})
    assert made.status_code == 201, made.content
    return dict(made.json())


def address() -> str:
    return f"jonas-{uuid.uuid4().hex[:8]}@example.org"


def code_in(mailbox: Mailbox) -> str:
    found = re.search(r"/invitation#([\w-]{40,})\s", mailbox.text())
    assert found is not None, mailbox.text()
    return found[1]


def opened(mailbox: Mailbox, client: Client | None = None) -> Client:
    """Return a client that has opened the link of the latest e-mail, as the script of the page does."""
    client = client or Client()
    assert client.post(PAGE, {"what": "open", "code": code_in(mailbox)}).status_code == 302
    return client


def text_of(response: Any) -> str:
    return " ".join(response.content.decode().split())
