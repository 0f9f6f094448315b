"""SQL with the login of the tables' owner. Only the owner can damage projections on purpose."""

from django.db import connections


def execute_as_owner(*statements: str) -> None:
    """Execute SQL as the owner, with all triggers switched off."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET session_replication_role = origin")
