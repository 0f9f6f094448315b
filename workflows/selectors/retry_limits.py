"""Largest number of attempts of steps, from the texts of their versions. A version never changes, so it is kept."""

import uuid
from collections.abc import Iterable

from django.core.cache import cache

from workflows.engine.definition import parse_definition
from workflows.models import DefinitionVersion

KEPT_SECONDS = 24 * 3600
Place = tuple[uuid.UUID, str]


def retry_limits(places: Iterable[Place]) -> dict[Place, int]:
    """Return the largest number of attempts for each place: the id of a version and the path of a step.

    A step without a retry policy has one attempt. Places of unknown versions or steps are left out.
    Cost: one statement for the versions that are not kept, or none.
    """
    wanted = set(places)
    limits = {version: cache.get(_name(version)) for version in {version for version, _ in wanted}}
    missing = [version for version, found in limits.items() if found is None]
    if missing:
        texts = DefinitionVersion.objects.filter(id__in=missing).values_list("id", "canonical_text")
        for version, text in texts:
            limits[version] = _limits_of(text)
            cache.set(_name(version), limits[version], KEPT_SECONDS)
    return {place: limits[place[0]][place[1]] for place in wanted if place[1] in (limits[place[0]] or {})}


def _limits_of(text: str) -> dict[str, int]:
    steps = (step for block in parse_definition(text).blocks.values() for step in block)
    return {step.path: step.retry.max_attempts if step.retry else 1 for step in steps}


def _name(version: uuid.UUID) -> str:
    return f"retry-limits-{version}"
