"""Which definitions refer to a secret: asked before it is deleted or replaced."""

import uuid
from dataclasses import dataclass

from django.db.models import Count, Q

from workflows.engine.secret_places import SECRET_KEY
from workflows.models import Definition, DefinitionVersion
from workflows.statuses import OPEN_RUN_STATUSES


@dataclass(frozen=True)
class SecretUse:
    """`where`: `published version 3`, `version 2 with 4 open runs`, or `draft`."""

    definition: Definition
    where: str


def secret_uses(*, tenant_id: uuid.UUID, name: str) -> list[SecretUse]:
    """Of drafts, published versions, and versions that runs are open of. Cost: two queries over the tenant's definitions."""
    # Texts are canonical, so a reference is always written like this, and in no text of JSON.
    written = f'"{SECRET_KEY}": "{name}"'
    versions = (
        DefinitionVersion.objects.filter(tenant_id=tenant_id, canonical_text__contains=written)
        .select_related("definition")
        .annotate(open_runs=Count("runs", filter=Q(runs__status__in=OPEN_RUN_STATUSES)))
        .order_by("definition__key", "-version")
    )
    uses = [
        SecretUse(version.definition, _where(version, version.open_runs))
        for version in versions
        if version.open_runs or _is_published(version)
    ]
    drafts = Definition.objects.filter(tenant_id=tenant_id, draft_text__contains=written, archived_at=None)
    return sorted([*uses, *(SecretUse(draft, "draft") for draft in drafts)], key=lambda use: use.definition.key)


def _is_published(version: DefinitionVersion) -> bool:
    definition = version.definition
    return definition.published_version_id == version.id and definition.archived_at is None


def _where(version: DefinitionVersion, open_runs: int) -> str:
    told = f"published version {version.version}" if _is_published(version) else f"version {version.version}"
    return f"{told} with {open_runs} open run{'s' if open_runs != 1 else ''}" if open_runs else told
