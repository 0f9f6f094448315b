"""Import of bundles (docs/reference/language.md#bundles).

An import is one transaction. By default, one refused workflow refuses the whole bundle. A preview carries out the same
import and rolls it back, so its results are exact.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction

from workflows.actors import Actor
from workflows.bundles.reading import bundle_invalid, read_bundle
from workflows.errors import InputInvalid
from workflows.json_numbers import write_json
from workflows.models import Command
from workflows.services.bundle_check import CHILD_VERSION, CheckedBundle, ImportOptions, Refused, bundle_check
from workflows.services.bundle_missing import MISSING
from workflows.services.bundle_store import Imported, workflow_refused, workflow_store
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role

DEFAULT = ImportOptions()
_ADVISORY_CLASS = 5_043  # class of the advisory locks for imports


@dataclass(frozen=True)
class ImportResult:
    """Result of an import or of a preview.

    - `is_accepted`: false if a preview found that the import would be refused.
    - `imported`: one result for each workflow, in the order of the bundle.
    - `command`: the row of the ledger. A preview has none.
    """

    imported: list[Imported]
    is_accepted: bool = True
    command: Command | None = None
    problems: list[dict[str, Any]] = field(default_factory=list)


def bundle_import(
    *, actor: Actor, document: Any, options: ImportOptions = DEFAULT, idempotency_key: str = ""
) -> ImportResult:
    """Store the drafts and the published versions of a bundle in one transaction.

    Idempotency: a definition that equals the stored one is not changed.
    Errors: PermissionRefused; InputInvalid BUNDLE_INVALID; InputInvalid BUNDLE_DEPENDENCIES_MISSING,
    BUNDLE_CHILD_VERSION or DEFINITION_INVALID, with all problems of all definitions; CommandRepeated.
    """
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.IMPORT,
        target_type="bundle",
        target_id=_bundle_name(document),
        payload={**vars(options), "sha256": hashlib.sha256(write_json(document).encode()).hexdigest()},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.AUTHOR, to="import definitions")
        checked, imported = _carried_out(actor, document, options)
        if checked.refused and (not options.partial or not checked.plan):
            raise _refusal(checked.refused)
        command.details = {"imported": [vars(item) for item in imported]}
        return ImportResult(imported, command=command)


def bundle_preview(*, actor: Actor, document: Any, options: ImportOptions = DEFAULT) -> ImportResult:
    """Return what an import of this bundle would do now. Nothing is stored.

    A workflow that would be refused has its problems. The other workflows show what an import with `partial` does.
    Errors: PermissionRefused; InputInvalid BUNDLE_INVALID if the document is not a bundle.
    """
    require_import_role(actor=actor)
    with transaction.atomic():
        checked, imported = _carried_out(actor, document, options)
        transaction.set_rollback(True)
    problems = _all_problems(checked.refused)
    is_accepted = bool(checked.plan) and (options.partial or not checked.refused)
    return ImportResult(imported, is_accepted=is_accepted, problems=problems)


def require_import_role(*, actor: Actor) -> None:
    """Refuse an actor who may not import definitions, and record the attempt. Errors: PermissionRefused."""
    require_role(
        actor=actor, needs=Role.AUTHOR, to="import definitions", action=CommandAction.IMPORT, target_type="bundle"
    )


def _carried_out(actor: Actor, document: Any, options: ImportOptions) -> tuple[CheckedBundle, list[Imported]]:
    """Check a bundle and store the workflows without a problem. The caller rolls back an import that it refuses."""
    workflows = read_bundle(document)
    with connection.cursor() as cursor:  # two imports of the same new definition would insert its key twice
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_ADVISORY_CLASS, str(actor.tenant_id)])
    checked = bundle_check(workflows, tenant_id=actor.tenant_id, options=options)
    done = [workflow_refused(item) for item in checked.refused]
    done += [workflow_store(actor, planned, checked) for planned in checked.plan]
    order = [workflow.key for workflow in workflows]
    return checked, sorted(done, key=lambda item: order.index(item.key))


def _bundle_name(document: Any) -> str:
    """Return the keys of a bundle as text that the ledger can store. The bundle is not checked yet."""
    workflows = document.get("workflows") if isinstance(document, dict) else None
    keys = [str(item.get("key")) for item in workflows if isinstance(item, dict)] if isinstance(workflows, list) else []
    return ascii(", ".join(keys))[1:-1][:200]


def _all_problems(refused: Sequence[Refused]) -> list[dict[str, Any]]:
    return [{"workflow": item.workflow.key, **problem} for item in refused for problem in item.problems]


def _refusal(refused: Sequence[Refused]) -> InputInvalid:
    """Return the error with all problems of all workflows."""
    problems = _all_problems(refused)
    codes = {problem["code"]: problem for problem in reversed(problems)}
    if "BUNDLE_INVALID" in codes:
        return bundle_invalid([*problems])
    missing = [{"workflow": item.workflow.key, **entry} for item in refused for entry in item.missing]
    first = problems[0]
    details: dict[str, Any] = {"problems": problems, "definition": first["workflow"], "missing": missing}
    if MISSING in codes:
        names = ", ".join(dict.fromkeys(item["name"] for item in missing if item["blocks"]))
        return InputInvalid(
            f"the bundle needs actions or schemas that are not registered here: {names}; register these first, or "
            "import placeholders",
            code=MISSING,
            details=details,
        )
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    first = codes.get(CHILD_VERSION, first)
    return InputInvalid(
        f"{first['workflow']} cannot be imported: {first['path'] or 'the workflow'}: {first['message']}{more}",
        code=first["code"] if first["code"].startswith("BUNDLE_") else "DEFINITION_INVALID",
        details=details,
    )
