"""Drafts of definitions: creation and optimistic locking (docs/reference/administration.md#definition-life-cycle).

A draft may have problems. Only a document that cannot be stored is refused.
"""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from workflows.actors import Actor
from workflows.bundles.metadata import metadata_columns
from workflows.bundles.reading import BundleWorkflow, bundle_invalid, read_bundle
from workflows.engine.definition import canonical_text
from workflows.engine.storable import MAX_DEFINITION_DEPTH, storable_problem
from workflows.errors import Conflict, InputInvalid, NotFound
from workflows.json_numbers import read_stored_json
from workflows.ledger import target_name
from workflows.models import Definition
from workflows.models.definitions import KEY_PATTERN
from workflows.services.definitions.changes import (
    definition_change,
    definition_find,
    definition_followed_up,
    require_not_archived,
)
from workflows.services.definitions.examples import example_find
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.payload_check import ANY_SCHEMA
from workflows.statuses import CommandAction, Role

# Columns that a copy takes over from its original.
COPIED = (
    "owner", "contact", "runbook_url", "concurrency_limit", "concurrency", "auto_pause_on_failure",
    "failure_rate_threshold", "failure_rate_min_runs", "payload_schema_mode", "retention_policy_override",
    "search_paths", "scenarios",
)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Origin of the first draft of a new definition. If no field is set, the draft is blank.

    - `document`: the draft itself
    - `example`: name of an example
    - `copy_of`: key of a definition; `copy_version`: number of one of its versions, or None for its draft
    - `bundle`: a bundle; `bundle_key`: key of one of its workflows, if it has several
    """

    document: Any = None
    example: str = ""
    copy_of: str = ""
    copy_version: int | None = None
    bundle: Any = None
    bundle_key: str = ""

    def as_payload(self) -> dict[str, Any]:
        """Return the origin for the ledger. Documents are replaced by their hash."""
        names = {name: getattr(self, name) for name in ("example", "copy_of", "copy_version", "bundle_key")}
        texts = {name: _fingerprint(getattr(self, name)) for name in ("document", "bundle")}
        return {name: value for name, value in {**names, **texts}.items() if value}


def definition_create(
    *, actor: Actor, key: str, name: str = "", origin: Origin | None = None, idempotency_key: str = ""
) -> Definition:
    """Create a definition with a draft. Nothing is published.

    The document gets the key as its id. If `name` is empty, the name comes from the document.

    Errors: PermissionRefused; InputInvalid KEY_INVALID, DEFINITION_ORIGIN_INVALID, VALUE_NOT_STORABLE, BUNDLE_INVALID;
    NotFound DEFINITION_NOT_FOUND, DEFINITION_VERSION_NOT_FOUND, EXAMPLE_NOT_FOUND; Conflict DEFINITION_EXISTS.
    """
    origin = origin or Origin()
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.CREATE_DEFINITION,
        target_type="definition",
        target_id=target_name(key),
        payload={"name": target_name(name), **origin.as_payload()},
        idempotency_key=idempotency_key,
    ) as command:
        actor.require(Role.AUTHOR, to="create definitions")
        _require_key_free(actor.tenant_id, key)
        document, columns = _first_draft(actor, key, origin)
        document = {**document, "id": key, "version": 1}
        document["name"] = _name(name or document.get("name") or key)
        text = draft_text(document)
        definition = Definition(tenant_id=actor.tenant_id, key=key, name=document["name"], **columns)
        definition.draft_text, definition.draft_version = text, 1
        definition.description = str(document.get("description") or "")
        definition.created_by_id = int(actor.id) if actor.kind == "user" and actor.id.isdecimal() else None
        try:
            with transaction.atomic():
                definition.save(force_insert=True)
        except IntegrityError as error:
            raise _exists(key) from error
        command.details = {"before": {}, "after": {"draftVersion": 1, "draftHash": _hash(text)}}
        transaction.on_commit(partial(definition_followed_up, tenant_id=actor.tenant_id, definition_id=definition.id))
        return definition


def definition_save_draft(
    *, actor: Actor, key: str, document: Any, draft_version: int, idempotency_key: str = ""
) -> Definition:
    """Replace the draft. `draft_version` is the number of the draft that the author has edited.

    Idempotency: a draft that equals the stored one is not counted as a save.
    Errors: PermissionRefused, NotFound; InputInvalid VALUE_NOT_STORABLE, DEFINITION_ID_MISMATCH; Conflict
    DRAFT_STALE if another save came first, with both documents in `details`; DEFINITION_ARCHIVED.
    """
    try:
        with definition_change(
            actor=actor,
            key=key,
            action=CommandAction.EDIT_DEFINITION,
            to="edit definitions",
            payload={"draftVersion": draft_version, "draft": _fingerprint(document)},
            idempotency_key=idempotency_key,
        ) as change:
            definition = change.definition
            require_not_archived(definition)
            require_draft_version(definition, draft_version)
            _require_own_id(definition, document)
            before, text = definition.draft_text, draft_text(document)
            if text != before:
                definition.draft_text = text
                definition.draft_version += 1
                change.command.details = {"draftHashBefore": _hash(before), "draftHash": _hash(text)}
            return definition
    except Conflict as error:
        if error.code == "DRAFT_STALE":  # the ledger stores only the number, because the texts are long
            current = definition_find(tenant_id=actor.tenant_id, key=key)
            shown = {"draft_version": current.draft_version, "document": draft_document(current)}
            error.details = {**error.details, "current": shown, "yours": document}
        raise


def require_draft_version(definition: Definition, draft_version: int) -> None:
    """Refuse a request about an older draft. Errors: Conflict DRAFT_STALE."""
    if definition.draft_version != draft_version:
        raise Conflict(
            f"the draft of {definition.key} was saved by another request: your version is {draft_version}, the present "
            f"one is {definition.draft_version}. Nothing was changed. Compare both texts, then save again with "
            f"draft_version {definition.draft_version}",
            code="DRAFT_STALE",
            details={"draftVersion": definition.draft_version, "yourDraftVersion": draft_version},
        )


def draft_document(definition: Definition) -> dict[str, Any]:
    """Return the draft. Return an empty object if the definition has no draft."""
    document: dict[str, Any] = read_stored_json(definition.draft_text) if definition.draft_text else {}
    return document


def draft_text(document: Any) -> str:
    """Return the text under which a draft is stored. Errors: InputInvalid VALUE_NOT_STORABLE."""
    problem = storable_problem(document, max_depth=MAX_DEFINITION_DEPTH)
    if problem is None and not isinstance(document, dict):
        problem = ("", "must be a JSON object")
    if problem is not None:
        pointer, message = problem
        raise InputInvalid(
            f"the definition cannot be stored: {pointer or 'the document'} {message}; change this value",
            code="VALUE_NOT_STORABLE",
            details={"pointer": pointer},
        )
    return canonical_text(document)


def _first_draft(actor: Actor, key: str, origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the document of a new definition, and columns that are taken over."""
    given = [name for name in ("document", "example", "copy_of", "bundle") if getattr(origin, name) not in (None, "")]
    if len(given) > 1:
        raise InputInvalid(
            f"a definition has one origin, but the request names {' and '.join(given)}; keep one of them",
            code="DEFINITION_ORIGIN_INVALID",
        )
    if origin.copy_of:
        return _copied(actor.tenant_id, origin)
    if origin.example:
        return example_find(origin.example).document, {}
    if origin.bundle is not None:
        workflow = _of_bundle(origin)
        columns = metadata_columns(workflow.metadata)
        return workflow.definition, {
            name: value for name, value in {**columns, "scenarios": workflow.scenarios}.items() if name in COPIED
        }
    if origin.document is not None:
        draft_text(origin.document)
        return origin.document, {}
    return {"id": key, "name": "", "payloadSchemaRef": ANY_SCHEMA, "steps": []}, {}


def _copied(tenant_id: uuid.UUID, origin: Origin) -> tuple[dict[str, Any], dict[str, Any]]:
    source = definition_find(tenant_id=tenant_id, key=origin.copy_of)
    columns = {name: getattr(source, name) for name in COPIED}
    if origin.copy_version is None and source.draft_text:
        document = draft_document(source)
    else:
        number = origin.copy_version or (source.published_version.version if source.published_version else 0)
        version = source.versions.filter(version=number).first()
        if version is None:
            raise NotFound(f"{origin.copy_of} has no version {number}", code="DEFINITION_VERSION_NOT_FOUND")
        document = version.document()
    return {**document, "name": f"{document.get('name') or source.name} (copy)"[:200]}, columns


def _of_bundle(origin: Origin) -> BundleWorkflow:
    workflows = {workflow.key: workflow for workflow in read_bundle(origin.bundle)}
    chosen = workflows.get(origin.bundle_key)
    if chosen is None and (origin.bundle_key or len(workflows) > 1):
        raise InputInvalid(
            f"choose one workflow of the bundle with bundle_key: {', '.join(sorted(workflows))[:500]}",
            code="DEFINITION_ORIGIN_INVALID",
            details={"keys": sorted(workflows)},
        )
    workflow = chosen or next(iter(workflows.values()))
    if workflow.problems:
        raise bundle_invalid(workflow.problems)
    return workflow


def _require_key_free(tenant_id: uuid.UUID, key: Any) -> None:
    if not isinstance(key, str) or not re.fullmatch(KEY_PATTERN, key) or len(key) > 200:
        raise InputInvalid(f"the key must match {KEY_PATTERN} and have at most 200 characters", code="KEY_INVALID")
    if Definition.objects.filter(tenant_id=tenant_id, key=key).exists():
        raise _exists(key)


def _require_own_id(definition: Definition, document: Any) -> None:
    found = document.get("id") if isinstance(document, dict) else None
    if found is not None and found != definition.key:
        raise InputInvalid(
            f"the document has the id {str(found)[:200]!r}, but this definition is {definition.key!r}; correct the id, "
            "or create a definition with the other key",
            code="DEFINITION_ID_MISMATCH",
            details={"pointer": "/id"},
        )


def _name(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 200 or storable_problem(value):
        raise InputInvalid("the name must be text of at most 200 characters", code="VALUE_NOT_STORABLE")
    return value


def _exists(key: str) -> Conflict:
    return Conflict(f"the definition {key!r} exists already; choose another key", code="DEFINITION_EXISTS")


def _fingerprint(document: Any) -> dict[str, Any] | None:
    if document is None:
        return None
    text = json.dumps(document, sort_keys=True, default=str)
    return {"bytes": len(text), "sha256": _hash(text)}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
