"""Plan of an import: the number of each version, and the translation of references to children. Pure functions.

Rule: a parent in the bundle calls only a child of the same bundle. If the tenant has no version of a workflow, its
versions keep the numbers of the bundle. Otherwise they get new numbers. The references to a child are changed to the
new numbers.

Source: docs/reference/language.md#bundles
"""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from workflows.bundles.reading import BundleWorkflow
from workflows.bundles.steps import Numbers, child_calls
from workflows.engine.definition import canonical_text


@dataclass(frozen=True)
class Stored:
    """Versions of one workflow that the tenant has. The keys are the numbers; the texts do not contain the number.

    `current` is the number of the published version.
    """

    versions: Mapping[int, str] = field(default_factory=dict)
    current: int | None = None


@dataclass
class Planned:
    """Definition of a bundle as it will be stored.

    - `versions`: the new and the kept versions in order, by number. The last one will be the published version.
    - `numbers`: the number that each version of the bundle gets.
    """

    workflow: BundleWorkflow
    draft: dict[str, Any]
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)
    unresolved: list[dict[str, Any]] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)


def plain_text(document: Mapping[str, Any]) -> str:
    """Return the canonical text without the version number.

    Two versions with the same content then have the same text.
    """
    return canonical_text({key: value for key, value in document.items() if key != "version"})


def plan_import(
    workflows: Sequence[BundleWorkflow],
    *,
    stored: Mapping[str, Stored],
    tenant_names: Mapping[str, str],
    publish: bool,
    drafts_only: Collection[str] = (),
) -> list[Planned]:
    """Return the plan of each workflow. Children come before their parents.

    The versions of the bundle become versions. With `publish`, the draft becomes a version too. The workflows whose
    keys are in `drafts_only` get no version.

    `tenant_names` is about the other workflows of the tenant. It maps each name that a foreign parent may use to the
    key.
    """
    names = _names(workflows)
    numbers: dict[tuple[str, int], int] = {}
    plan = []
    for group in _groups(workflows, names):
        guess = _recursive_numbers(group, names, stored, tenant_names) if _is_recursive(group, names) else {}
        for workflow in group:
            have = stored.get(workflow.key, Stored())
            if _is_recursive(group, names):
                numbers |= guess
            kept = _kept_numbers(workflow, publish=publish) if workflow.key not in drafts_only else ()
            plan.append(_planned(workflow, have, names, tenant_names, numbers, kept=kept))
    return plan


def _planned(
    workflow: BundleWorkflow,
    have: Stored,
    names: Mapping[str, str],
    tenant_names: Mapping[str, str],
    numbers: dict[tuple[str, int], int],
    *,
    kept: Sequence[int],
) -> Planned:
    """Return the plan of one workflow. `kept` has the numbers in the bundle of the documents that become versions."""
    planned = Planned(workflow, draft={})
    own = {number: _translated(document, planned, names, tenant_names, numbers) for number, document in _all(workflow)}
    order = list(own)
    # The draft can differ from the newest version in the number that its text contains.
    draft = Planned(workflow, {})
    planned.draft = _translated(workflow.definition, draft, names, tenant_names, numbers)
    for bundle_number in order:
        is_last = bundle_number in (order[-1], *kept[-1:])
        number = numbers.get((workflow.key, bundle_number)) or _number(
            bundle_number, own[bundle_number], have, planned, workflow, is_last=is_last
        )
        same = have.versions.get(number) == plain_text(own[bundle_number])
        if bundle_number in kept or is_last or same:
            numbers[workflow.key, bundle_number] = number
        if bundle_number in kept:
            planned.versions[number] = own[bundle_number]
            planned.numbers[bundle_number] = number
    _alias_of_draft(workflow, numbers, order[-1])
    planned.references = list({entry["path"]: entry for entry in planned.references}.values())
    planned.unresolved = list({entry["path"]: entry for entry in planned.unresolved}.values())
    return planned


def _all(workflow: BundleWorkflow) -> list[tuple[int, dict[str, Any]]]:
    """Return the versions of the bundle and then the draft, each with its number.

    If the draft equals the newest version, it is left out.
    """
    versions = list(workflow.versions.items())
    if versions and plain_text(versions[-1][1]) == plain_text(workflow.definition):
        return versions
    return [*versions, ((versions[-1][0] + 1) if versions else _draft_number(workflow), workflow.definition)]


def _kept_numbers(workflow: BundleWorkflow, *, publish: bool) -> list[int]:
    """Return the numbers in the bundle of the documents that become versions, oldest first."""
    return [number for number, _ in _all(workflow)] if publish else list(workflow.versions)


def _draft_number(workflow: BundleWorkflow) -> int:
    number = workflow.definition.get("version")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else 1


def _alias_of_draft(workflow: BundleWorkflow, numbers: dict[tuple[str, int], int], last: int) -> None:
    """Let parents refer to the draft by the number in its text.

    This applies if no version of the bundle has this number.
    """
    if (workflow.key, last) in numbers:
        numbers.setdefault((workflow.key, _draft_number(workflow)), numbers[workflow.key, last])


def _number(
    bundle_number: int,
    document: dict[str, Any],
    have: Stored,
    planned: Planned,
    workflow: BundleWorkflow,
    *,
    is_last: bool,
) -> int:
    if not have.versions:
        return bundle_number if workflow.versions else 1
    text = plain_text(document)
    same = [number for number, kept in have.versions.items() if kept == text]
    if is_last and have.current in same:
        return int(have.current or 0)
    if same and not is_last:
        return max(same)
    return max([*have.versions, *planned.versions]) + 1


def _translated(
    document: dict[str, Any],
    planned: Planned,
    names: Mapping[str, str],
    tenant_names: Mapping[str, str],
    numbers: Numbers,
) -> dict[str, Any]:
    """Return the definition with its key as id. Its references name the version numbers that this import gives."""
    translated = deepcopy({**document, "id": planned.workflow.key})
    for path, step, name, version in child_calls(translated):
        entry = {"path": path, "workflow": name, "version": version}
        key = names.get(name.lower())
        number = numbers.get((key, version)) if key else version
        key = key or tenant_names.get(name.lower())
        if key is None:
            planned.unresolved.append(entry)
        elif number is None:
            message = (
                f"the step calls {name}@{version}, and the import does not give {key} such a version;"
                " export the child with this version, or import with publication"
            )
            planned.problems.append({"code": "BUNDLE_CHILD_VERSION", "path": path, "message": message})
        elif (key, number) != (name, version):
            step["workflowId"], step["workflowVersion"] = key, number
            planned.references.append({**entry, "key": key, "number": number})
    return translated


# -- Names and order ---------------------------------------------------------------------------------------------------


def _names(workflows: Sequence[BundleWorkflow]) -> dict[str, str]:
    """Return the key of a workflow of the bundle for each name, in lower case.

    If two workflows have the same foreign id, this id names neither of them.
    """
    owners: dict[str, set[str]] = {}
    for workflow in workflows:
        for name in workflow.foreign_ids:
            owners.setdefault(name.lower(), set()).add(workflow.key)
    ids = {name: next(iter(keys)) for name, keys in owners.items() if len(keys) == 1}
    return {**ids, **{workflow.key: workflow.key for workflow in workflows}}


def _children(workflow: BundleWorkflow, names: Mapping[str, str]) -> set[str]:
    called = {name for _, document in _all(workflow) for _, _, name, _ in child_calls(document)}
    return {names[name.lower()] for name in called if name.lower() in names}


def parents_of(
    workflows: Sequence[BundleWorkflow], refused: Sequence[BundleWorkflow]
) -> list[tuple[BundleWorkflow, dict[str, Any]]]:
    """Return the workflows that call a refused workflow, directly or through others. Each comes with its problem."""
    names = _names([*workflows, *refused])
    calls = {workflow.key: _children(workflow, names) for workflow in [*workflows, *refused]}
    keys = {workflow.key for workflow in refused}
    found = []
    for workflow in workflows:
        missing = sorted(_reachable(workflow.key, calls) & keys)
        if missing:
            message = f"the workflow calls {', '.join(missing)}, which is refused"
            found.append((workflow, {"code": "BUNDLE_CHILD_VERSION", "path": "", "message": message}))
    return found


def _groups(workflows: Sequence[BundleWorkflow], names: Mapping[str, str]) -> list[list[BundleWorkflow]]:
    """Return the workflows with children first. Workflows that call each other are in one group."""
    by_key = {workflow.key: workflow for workflow in workflows}
    calls = {key: _children(workflow, names) for key, workflow in by_key.items()}
    reach: dict[str, set[str]] = {key: _reachable(key, calls) for key in by_key}
    done: set[str] = set()
    groups = []
    for key in sorted(by_key, key=lambda key: (len(reach[key] | {key}), key)):
        if key not in done:
            group = [other for other in by_key if other == key or (other in reach[key] and key in reach[other])]
            done |= set(group)
            groups.append([by_key[other] for other in group])
    return groups


def _reachable(key: str, calls: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(calls[key])
    while todo:
        child = todo.pop()
        if child not in found:
            found.add(child)
            todo += calls[child]
    return found


def _is_recursive(group: Sequence[BundleWorkflow], names: Mapping[str, str]) -> bool:
    return len(group) > 1 or group[0].key in _children(group[0], names)


def _recursive_numbers(
    group: Sequence[BundleWorkflow],
    names: Mapping[str, str],
    stored: Mapping[str, Stored],
    tenant_names: Mapping[str, str],
) -> dict[tuple[str, int], int]:
    """Return the version numbers of workflows that call each other. The texts of these workflows contain these numbers.

    If the newest versions of the tenant equal the versions of the bundle, their numbers are kept. Otherwise all
    versions get new numbers.
    """
    kept: dict[tuple[str, int], int] = {}
    fresh: dict[tuple[str, int], int] = {}
    for workflow in group:
        order = [number for number, _ in _all(workflow)]
        have = sorted(stored.get(workflow.key, Stored()).versions)
        kept |= {(workflow.key, number): old for number, old in zip(order, have[-len(order) :], strict=False)}
        for place, number in enumerate(order):
            fresh[workflow.key, number] = have[-1] + 1 + place if have else (number if workflow.versions else 1)
        _alias_of_draft(workflow, kept, order[-1])
        _alias_of_draft(workflow, fresh, order[-1])
    same = all(
        stored.get(workflow.key, Stored()).versions.get(kept.get((workflow.key, number), 0))
        == plain_text(_translated(document, Planned(workflow, {}), names, tenant_names, kept))
        for workflow in group
        for number, document in _all(workflow)
    )
    return kept if same else fresh
