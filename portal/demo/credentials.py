"""Passwords and token of the demo. They are generated once.

Only the owner of the files under POINTSMAN_HOME can read them.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from workflows.services.tokens import PREFIX
from workflows.statuses import Role


@dataclass(frozen=True)
class DemoUser:
    username: str
    password: str
    role: str


@dataclass(frozen=True)
class Credentials:
    token: str
    users: list[DemoUser]

    def as_json(self) -> dict[str, Any]:
        """Return the output of `demo_credentials --json`.

        Shapes: `{"url", "token", "users": [{"username", "password", "role"}]}`.
        """
        return {"url": settings.PUBLIC_URL, "token": self.token, "users": [asdict(user) for user in self.users]}


def credentials_path() -> Path:
    return Path(settings.POINTSMAN_HOME) / "demo-credentials.json"


def read_credentials() -> Credentials | None:
    """Return the stored credentials, or None if `demo_load` has not run in this POINTSMAN_HOME."""
    path = credentials_path()
    if not path.exists():
        return None
    stored = json.loads(path.read_text(encoding="utf-8"))
    return Credentials(stored["token"], [DemoUser(**user) for user in stored["users"]])


def make_credentials() -> Credentials:
    """Return the stored credentials. Generate and store them if there are none."""
    stored = read_credentials()
    if stored is not None:
        return stored
    credentials = Credentials(
        token=PREFIX + secrets.token_urlsafe(32),
        users=[DemoUser(role.value, secrets.token_urlsafe(9), role.value) for role in Role],
    )
    path = credentials_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"token": credentials.token, "users": [asdict(user) for user in credentials.users]}, file, indent=2)
    return credentials
