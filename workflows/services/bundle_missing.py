"""Dependencies of a bundle that the tenant does not have (docs/reference/language.md#bundles)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workflows.bundles.dependencies import dependencies_of
from workflows.bundles.plan import Planned
from workflows.engine.validation.known import Known

MISSING = "BUNDLE_DEPENDENCIES_MISSING"
# What an author or an administrator must do about a missing dependency of each kind.
ADVICE = {
    "action": "register the action, or create a connector with this id",
    "action version": "register this version of the action",
    "schema": "register the schema",
    "secret": "an administrator must create the secret; until then, a run that uses it fails",
    "event type": "add the event to the catalogue, unless a default path gives its correlation key",
    "child": "import the child; until then, a run that reaches this step fails",
    "child version": "import this version of the child; until then, a run that reaches this step fails",
}
# An import is refused if a dependency of these kinds is missing.
BLOCKING = ("action", "action version", "schema")


@dataclass(frozen=True)
class Names:
    """Names that exist in the tenant after the import. `bundle` has the keys of the bundle's workflows."""

    known: Known
    events: frozenset[str]
    bundle: frozenset[str]


def missing_dependencies(planned: Planned, names: Names) -> list[dict[str, Any]]:
    """Return everything that the workflow needs and the tenant does not have.

    Shapes: `{kind, name, blocks, message}`. `blocks` is true if the import is refused without the dependency.
    """
    return [
        {"kind": kind, "name": name, "blocks": kind in BLOCKING, "message": ADVICE[kind]}
        for kind, name in _missing(planned, names)
    ]


def missing_problem(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the problem with which an import is refused because of this missing dependency."""
    message = f"the {entry['kind']} {entry['name']} is not registered here; {entry['message']}"
    return {"code": MISSING, "path": "dependencies", "kind": entry["kind"], "name": entry["name"], "message": message}


def _missing(planned: Planned, names: Names) -> Iterator[tuple[str, str]]:
    known = names.known
    needs = dependencies_of([planned.draft, *planned.versions.values()])
    for name, number in sorted(needs.actions.union(planned.workflow.actions)):
        if number not in known.actions.get(name, ()):
            yield ("action version" if name in known.actions else "action"), f"{name}@{number}"
    for ref in sorted(needs.schema_refs.union(planned.workflow.schema_refs) - known.schema_refs):
        yield "schema", ref
    for name in sorted(needs.secrets - (known.secrets or frozenset())):
        yield "secret", name
    for name in sorted(needs.event_names - names.events):
        yield "event type", name
    for name, number in sorted(needs.children):
        if number not in known.workflows.get(name, ()) and name not in names.bundle:
            yield ("child version" if name in known.workflows else "child"), f"{name}@{number}"
