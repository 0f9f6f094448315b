"""Several databases on one server, so that requests to a small and to a big one alternate in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from django.core.management import call_command
from django.db import connections
from django.db.utils import load_backend

ALIASES = ("default", "signin", "owner")


class Database:
    """One migrated database with connections of its own for each login of the portal."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._connections = {}
        for alias in ALIASES:
            settings = {**deepcopy(connections[alias].settings_dict), "NAME": name}
            self._connections[alias] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, alias)

    @classmethod
    def create(cls, name: str) -> Database:
        with connections["owner"].cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{name}"')
        database = cls(name)
        with database.used():
            call_command("migrate", interactive=False, verbosity=0)
        return database

    @contextmanager
    def used(self) -> Iterator[None]:
        """Use this database in this thread instead of the one of the settings."""
        before: dict[str, Any] = {alias: connections[alias] for alias in ALIASES}
        try:
            for alias, connection in self._connections.items():
                connections[alias] = connection
            yield
        finally:
            for alias, connection in before.items():
                connections[alias] = connection
