"""`manage.py export_ledger`: a signed export of the command ledger (docs/reference/authority.md#signed-export)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.management.subcommands import add_tenant, tenant_and_actor
from workflows.services.ledger_export import export_lines, export_signature, ledger_export_create
from workflows.services.ledger_export_format import public_key_of


class Command(SystemCommand):
    help = "Write the command ledger of a tenant to FILE and its signature to FILE.sig, or print the public key."

    def add_arguments(self, parser: CommandParser) -> None:
        add_tenant(parser)
        parser.add_argument("--output", metavar="FILE", help="the file must not exist")
        parser.add_argument("--since", metavar="DAY", help="first day in UTC, for example 2026-01-31")
        parser.add_argument("--until", metavar="DAY", help="day in UTC after the last day")
        parser.add_argument("--reason", default="")
        parser.add_argument("--by", default="manage.py", help="name of the person, for the command ledger")
        parser.add_argument("--public-key", action="store_true", help="only print the public key for auditors")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["public_key"]:
            if not settings.LEDGER_EXPORT_KEYS:
                raise CommandError("there is no public key, because LEDGER_EXPORT_KEYS is not set")
            for key_id, seed in settings.LEDGER_EXPORT_KEYS.items():
                self.stdout.write(f"{key_id}: {public_key_of(seed)}")
            return
        if not options["output"]:
            raise CommandError("--output FILE is required")
        path = Path(options["output"])
        signature = path.with_name(f"{path.name}.sig")
        if path.exists() or signature.exists():
            raise CommandError(f"{path} or {signature} exists; choose another file. Nothing was exported")
        _, actor = tenant_and_actor(options)
        since, until = _day(options["since"]), _day(options["until"])
        try:
            # The files are opened first. An export that cannot be stored would be in the ledger otherwise.
            with path.open("xb") as file, signature.open("xb") as signed:
                export = ledger_export_create(actor=actor, since=since, until=until, reason=options["reason"])
                file.writelines(export_lines(export))
                signed.write(export_signature(export))
        except (OSError, PortalError) as error:
            if not isinstance(error, FileExistsError):  # another process has made the file
                path.unlink(missing_ok=True)
                signature.unlink(missing_ok=True)
            text = f"{error.code}: {error.message}" if isinstance(error, PortalError) else f"cannot write: {error}"
            raise CommandError(f"{text}. There is no file of an export") from error
        self.stdout.write(f"{export.details['manifest']['links']} links in {path}, signature in {signature}")


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise CommandError(f"{text!r} is not a day such as 2026-01-31") from error
