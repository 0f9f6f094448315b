"""Uses of a secret by definitions. Screens show these uses before a secret is deleted or replaced."""

import uuid
from dataclasses import dataclass

from django.db.models import Count, Q

from workflows.engine.secret_places import SECRET_KEY
from workflows.models import Definition, DefinitionVersion
from workflows.statuses import OPEN_RUN_STATUSES


@dataclass(frozen=True)
class SecretUse:
    """Definition that refers to a secret. Examples of `where`: `published version 3`, `version 2 with 4 open runs`."""

    definition: Definition
    where: str


def secret_uses(*, tenant_id: uuid.UUID, name: str) -> list[SecretUse]:
    """Return the uses of a secret in drafts, in published versions, and in versions that have open runs.

    Cost: two queries that search the texts of the tenant's definitions.
    """
    # Definition texts are canonical JSON. A reference always has this form, and no string value can contain it.
    reference = f'"{SECRET_KEY}": "{name}"'
    versions = (
        DefinitionVersion.objects.filter(tenant_id=tenant_id, canonical_text__contains=reference)
        .select_related("definition")
        .annotate(open_runs=Count("runs", filter=Q(runs__status__in=OPEN_RUN_STATUSES)))
        .order_by("definition__key", "-version")
    )
    uses = [
        SecretUse(version.definition, _where(version, version.open_runs))
        for version in versions
        if version.open_runs or _is_published(version)
    ]
    drafts = Definition.objects.filter(tenant_id=tenant_id, draft_text__contains=reference, archived_at=None)
    return sorted([*uses, *(SecretUse(draft, "draft") for draft in drafts)], key=lambda use: use.definition.key)


def _is_published(version: DefinitionVersion) -> bool:
    definition = version.definition
    return definition.published_version_id == version.id and definition.archived_at is None


def _where(version: DefinitionVersion, open_runs: int) -> str:
    where = f"published version {version.version}" if _is_published(version) else f"version {version.version}"
    return f"{where} with {open_runs} open run{'s' if open_runs != 1 else ''}" if open_runs else where
