"""Versions of definitions that other definitions call."""

import uuid
from collections.abc import Collection

from django.db.models import Q, QuerySet

from workflows.models import DefinitionVersion

# Name of a definition, which is its key or its id, and the number of a version.
Call = tuple[str, int]
NO_ID = uuid.UUID(int=0)


def called_versions(versions: QuerySet[DefinitionVersion], calls: Collection[Call]) -> dict[Call, DefinitionVersion]:
    """Return the called versions. A call that names no version is not in the result. A key wins over an id.

    Cost: one statement for any number of calls.
    """
    if not calls:
        return {}
    ids = {name: own_id for name, _ in calls if (own_id := _id(name)) is not None}
    named = Q(definition__key__in={name for name, _ in calls}) | Q(definition__in=ids.values())
    rows = versions.select_related("definition").filter(named, version__in={version for _, version in calls})
    by_key = {(row.definition.key, row.version): row for row in rows}
    by_id = {(row.definition_id, row.version): row for row in rows}
    found = ((call, by_key.get(call) or by_id.get((ids.get(call[0], NO_ID), call[1]))) for call in calls)
    return {call: row for call, row in found if row is not None}


def _id(name: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(name)
    except ValueError:
        return None
