"""`manage.py describe_run ID`: show the row of a run, Temporal's data, and the differences."""

import json
import uuid
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.scoped import SystemCommand
from workflows.services.missing_actions import missing_action_of
from workflows.services.runs.describe import RunDescription, run_describe


class Command(SystemCommand):
    help = "Show the row of a run, what Temporal reports, and the differences."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("run_id", help="id of the run")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        run_id = run_id_of(options["run_id"])
        found = run_describe(run_id=run_id)
        if found is None:
            raise CommandError(f"there is no run {run_id}")
        shown = _sections(found)
        if options["json"]:
            self.stdout.write(json.dumps(shown, indent=2, default=str))
            return
        for title, lines in shown.items():
            self.stdout.write(self.style.MIGRATE_HEADING(title))
            for line in _lines(lines):
                self.stdout.write(f"  {line}")


def run_id_of(text: str) -> uuid.UUID:
    """Return the id of a run.

    Errors: CommandError if the text is not a UUID.
    """
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise CommandError(f"{text!r} is not a run id; a run id is a UUID") from error


def _sections(found: RunDescription) -> dict[str, Any]:
    run = found.run
    row = {
        "run": f"{run.id} {run.definition_key}@{run.version} (semantics {run.semantics_version})",
        "status": run.status,
        "step": run.current_step_path,
        "sequence": run.projection_seq,
        "execution": run.projection_epoch,
        "projected": run.projected_at,
        "error": run.error,
        "waits": found.waits,
        "no worker has": missing_action_of(tenant_id=run.tenant_id, run_id=run.id) or "-",
    }
    temporal: Any = "Temporal does not know the run" if found.temporal is None else asdict(found.temporal)
    return {
        "Row": row,
        "Temporal": temporal,
        "Workflow": {"summary": found.summary, "wait": found.current_wait},
        "Difference": found.differences or "none",
        "Could not be read": found.problems or "nothing",
    }


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}: {_text(item)}" for key, item in value.items()]
    if isinstance(value, list):
        return [_text(item) for item in value]
    return [str(value)]


def _text(item: Any) -> str:
    return json.dumps(item, default=str, ensure_ascii=False) if isinstance(item, dict | list) else str(item)
