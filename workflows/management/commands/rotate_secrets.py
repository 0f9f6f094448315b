"""`manage.py rotate_secrets [--dry-run]`: encrypt every secret under the first key of WORKFLOW_SECRET_KEYS."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.services.secrets import secrets_rotate
from workflows.statuses import CommandSource, Role


class Command(SystemCommand):
    help = "Encrypt every tenant's secrets under the first key of WORKFLOW_SECRET_KEYS. Values stay as they are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = 0
        for tenant in Tenant.objects.order_by("slug"):
            actor = Actor("system", "cli", "rotate_secrets", tenant.id, Role.ADMIN, CommandSource.CLI)
            try:
                rotation = secrets_rotate(actor=actor, dry_run=options["dry_run"])
            except PortalError as error:
                raise CommandError(f"{error.code}: {error.message}") from error
            done = "to encrypt anew" if options["dry_run"] else "encrypted anew"
            counts = f"{len(rotation.rotated)} {done}, {len(rotation.current)} under the first key already"
            self.stdout.write(f"{tenant.slug}: {counts}, {len(rotation.unreadable)} unreadable")
            for name, problem in rotation.unreadable.items():
                self.stderr.write(f"  {name}: {problem}")
            unreadable += len(rotation.unreadable)
        if unreadable:
            raise CommandError(f"{unreadable} secrets cannot be read; keep every key that encrypts one of them")
