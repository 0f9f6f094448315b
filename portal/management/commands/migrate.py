"""Command `migrate`. It connects as the owner of the tables, and gives the other logins their rights.

It refuses a database with the first migration history.
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from portal.database.rights import rights_apply
from portal.database.roles import roles_ensure
from portal.database_router import OWNER

# The migration history was rewritten with new names before the first release. No migration changes the old tables into
# the new tables.
OLD_HISTORY = frozenset(
    {
        "0001_initial",
        "0002_app_role",
        "0003_engine_whole",
        "0004_events_whole",
        "0005_control",
        "0006_command_actions",
        "0007_row_level_security",
    }
)


class Command(migrate.Command):
    """Django's `migrate` with the database `owner`. The application's own role may not alter tables."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database=OWNER)

    def execute(self, *args: Any, **options: Any) -> Any:
        connections[options["database"]].ensure_connection()  # a missing URL is reported before other problems
        return super().execute(*args, **options)

    def handle(self, *args: Any, **options: Any) -> None:
        """Errors: CommandError for a database with the first migration history, or without a login.

        The operator must act.
        """
        connection = connections[options["database"]]
        _require_new_history(options["database"])
        roles_ensure(connection)
        super().handle(*args, **options)
        if not options["plan"] and not options["check_unapplied"]:
            rights_apply(connection)


def _require_new_history(alias: str) -> None:
    connection = connections[alias]
    applied = {name for app, name in MigrationRecorder(connection).applied_migrations() if app == "workflows"}
    old = sorted(applied & OLD_HISTORY)
    if old:
        raise CommandError(
            f"The database {connection.settings_dict['NAME']!r} was created with an old migration history of the app"
            f" `workflows`: it contains {', '.join(old)}. The history was rewritten before the first release, so these"
            " tables cannot be migrated. Nothing was changed. Create an empty database, set DATABASE_URL and the other"
            " URLs of the database to it, and run `manage.py migrate` again. With the embedded servers, stop the stack"
            " and delete the folders `postgres`, `redis` and `temporal` in POINTSMAN_HOME; this deletes their data."
        )
