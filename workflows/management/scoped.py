"""Base class of management commands. These commands may read the rows of every tenant."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workflows.engine.storable import storable_problem
from workflows.tenancy import system_scope, use_system_login

MAX_ACTOR_NAME_LENGTH = 200


class SystemCommand(BaseCommand):
    """Management command that runs in the system scope. Its services select the rows of one tenant themselves.

    It connects with the login of DATABASE_SYSTEM_URL.
    """

    def execute(self, *args: Any, **options: Any) -> Any:
        """Errors: CommandError for a text that cannot be stored."""
        for name, value in options.items():
            unstorable = storable_problem(value) if isinstance(value, str | list) else None
            if unstorable is not None:
                raise CommandError(
                    f"{name} is not valid UTF-8: it {unstorable[1]}. Nothing was changed. Correct the text"
                )
        if len(options.get("by") or "") > MAX_ACTOR_NAME_LENGTH:
            raise CommandError(
                f"--by has more than {MAX_ACTOR_NAME_LENGTH} characters. Nothing was changed. Shorten it"
            )
        use_system_login()
        with system_scope():
            return super().execute(*args, **options)
