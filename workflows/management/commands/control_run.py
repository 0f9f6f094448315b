"""`manage.py control_run ACTION RUN`: cancel, terminate or replay a run, with the services of the run page and the API.

Source: docs/reference/authority.md#control-matrix
"""

import json
import uuid
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.actors import Actor
from workflows.errors import PortalError
from workflows.management.scoped import SystemCommand
from workflows.models import Run
from workflows.services.runs.control import run_cancel, run_refuse_unsupported, run_terminate
from workflows.services.runs.replay import run_replay
from workflows.statuses import CommandAction, CommandSource, ReplayVersion, Role
from workflows.strict_json import read_json

ACTIONS = ("cancel", "terminate", "replay", "resume", "retry", "requeue-event-wait")


class Command(SystemCommand):
    help = "Cancel, terminate or replay a run, with the same services as the run page and the API."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=ACTIONS)
        parser.add_argument("run_id", help="id of the run")
        parser.add_argument("--reason", default="", help="reason for the command ledger; terminate needs one")
        parser.add_argument("--payload", type=Path, help="with replay: a JSON file with the input of the new run")
        parser.add_argument(
            "--on", choices=ReplayVersion.values, default="pinned", help="with replay: the version of the new run"
        )
        parser.add_argument(
            "--allow-another-run",
            action="store_true",
            help="with replay: also if another run of the key is open or has succeeded",
        )
        parser.add_argument(
            "--accept-repeats", action="store_true", help="with replay: actions may repeat effects, see the preview"
        )
        parser.add_argument(
            "--idempotency-key", default="", help="a repeat with the same key returns the first outcome"
        )
        parser.add_argument("--by", default="manage.py", help="name of the person, for the command ledger")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run = Run.objects.only("tenant_id").get(id=uuid.UUID(options["run_id"]))
        except (ValueError, Run.DoesNotExist) as error:
            raise CommandError(f"there is no run {options['run_id']}") from error
        actor = Actor("system", "cli", options["by"], run.tenant_id, Role.ADMIN, CommandSource.CLI)
        request = {
            "actor": actor,
            "run_id": run.id,
            "reason": options["reason"],
            "idempotency_key": options["idempotency_key"],
        }
        try:
            self.stdout.write(_perform(options["action"], request, options))
        except PortalError as error:
            details = json.dumps(error.details, indent=2, ensure_ascii=False, default=str)
            raise CommandError(f"{error.code}: {error.message}\n{details}") from error


def _perform(action: str, request: dict[str, Any], options: dict[str, Any]) -> str:
    """Send the request and return the text for the terminal."""
    if options["payload"] is not None and action != "replay":
        raise CommandError("--payload is allowed only with replay")
    if action == "cancel":
        command = run_cancel(**request)
        return f"{command.state}: command {command.id}. The run is CANCELED when its workflow records the end."
    if action == "terminate":
        command = run_terminate(**request)
        return f"{command.state}: command {command.id}. The reconciler updates the row of the run."
    if action != "replay":
        run_refuse_unsupported(**request, action=CommandAction(action.replace("-", "_")))
    new_run_id, command = run_replay(
        **request,
        payload=_document(options["payload"]) if options["payload"] else None,
        on=options["on"],
        allow_another_run=options["allow_another_run"],
        accept_repeats=options["accept_repeats"],
    )
    return f"{command.state}: command {command.id}. The new run is {new_run_id}. Its result is not known yet."


def _document(path: Path) -> Any:
    try:
        return read_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"the file cannot be read: {error}; correct the path or the permissions") from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} is not valid JSON: {error}") from error
