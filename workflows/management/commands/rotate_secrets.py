"""`manage.py rotate_secrets [--dry-run]`: encrypt every secret with the first key of WORKFLOW_SECRET_KEYS."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import Tenant
from workflows.secret_encryption import DecryptionFailed, KeyMissing
from workflows.services.second_factors import seeds_rotate
from workflows.services.secrets import secrets_rotate
from workflows.statuses import CommandSource, Role


class Command(SystemCommand):
    help = "Encrypt the secrets of every tenant with the first key of WORKFLOW_SECRET_KEYS. Values do not change."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="show what would be done and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        unreadable = 0
        for tenant in Tenant.objects.order_by("slug"):
            actor = Actor("system", "cli", "rotate_secrets", tenant.id, Role.ADMIN, CommandSource.CLI)
            try:
                rotation = secrets_rotate(actor=actor, dry_run=options["dry_run"])
            except PortalError as error:
                raise CommandError(f"{error.code}: {error.message}") from error
            done = "to encrypt again" if options["dry_run"] else "encrypted again"
            counts = f"{len(rotation.rotated)} {done}, {len(rotation.current)} encrypted with the first key already"
            self.stdout.write(f"{tenant.slug}: {counts}, {len(rotation.unreadable)} unreadable")
            for name, problem in rotation.unreadable.items():
                self.stderr.write(f"  {name}: {problem}")
            unreadable += len(rotation.unreadable)
        try:
            seeds = seeds_rotate(dry_run=options["dry_run"])
        except (KeyMissing, DecryptionFailed) as error:
            raise CommandError(f"second factors: {error}") from error
        self.stdout.write(f"second factors: {seeds} {'to encrypt again' if options['dry_run'] else 'encrypted again'}")
        if unreadable:
            raise CommandError(
                f"{unreadable} secrets cannot be decrypted; add the keys that encrypted them to WORKFLOW_SECRET_KEYS"
            )
