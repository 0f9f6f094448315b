"""Validation of a definition before it is published.

Rule: find every problem at publishing, not when a run fails at night. What may be wrong in reality, but cannot be known
from the document and the tenant's names, is a warning or no problem.

Theory of operation: each module of `validation` checks one subject and yields findings. `codes` has the severity and
the meaning of every code. `positions` finds line and column. The work is bounded: the size and the depth of a document
are checked first, and the number of problems and of suggestions is limited.

Source: docs/reference/language.md#definition, docs/errors.md#problems-of-a-definition.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from workflows.engine.definition import canonical_text
from workflows.engine.sizes import MAX_DEFINITION_BYTES
from workflows.engine.storable import MAX_DEFINITION_DEPTH, RepeatedKey, unstorable_place
from workflows.engine.validation.codes import CODES, Severity
from workflows.engine.validation.flow import flow_findings
from workflows.engine.validation.inputs import input_findings, trigger_input_findings
from workflows.engine.validation.known import Known, KnownEvent
from workflows.engine.validation.names import name_findings
from workflows.engine.validation.positions import located
from workflows.engine.validation.problems import At, Finding, Near, Place, Problem
from workflows.engine.validation.scopes import run_scopes, trigger_scopes
from workflows.engine.validation.shape import shape_findings
from workflows.engine.validation.tree import read_steps
from workflows.engine.validation.triggers import trigger_findings
from workflows.engine.validation.types import SchemaTypes
from workflows.engine.validation.variables import trigger_read_findings, variable_findings
from workflows.engine.validation.waits import wait_findings

__all__ = ["MAX_PROBLEMS", "Known", "KnownEvent", "Problem", "validate"]

# Limit for the listed errors, and for the listed warnings.
MAX_PROBLEMS = 200


def validate(document: Any, known: Known, *, text: str | None = None) -> list[Problem]:
    """Return all problems in the order of the text. The definition can be published if none of them is an error.

    `text` is the JSON text that the document was read from. Lines and columns refer to it. Without a text, they refer
    to the canonical text.
    """
    if not isinstance(document, dict):
        finding = Finding("FIELD_INVALID", (), "a definition must be a JSON object")
        return located([finding], text or "")
    unstorable = unstorable_place(document, max_depth=MAX_DEFINITION_DEPTH)
    if unstorable is not None:
        return located([_unstorable(document, *unstorable)], text or "")
    canonical = canonical_text(document)
    size = len(canonical.encode())
    if size > MAX_DEFINITION_BYTES:
        message = (
            f"the definition has {size} bytes, but at most {MAX_DEFINITION_BYTES} bytes are allowed; "
            "move a part of it into a child workflow"
        )
        return located([Finding("DEFINITION_TOO_LARGE", (), message)], text or "")
    findings = _bounded(_findings(document, known))
    return located(findings, canonical if text is None else text) if findings else []


def _unstorable(document: Any, place: Place, problem: str) -> Finding:
    value = document
    for part in place:
        value = value[part]
    if isinstance(value, RepeatedKey):  # the key has its own place, which is of more help than that of the object
        return Finding("VALUE_NOT_STORABLE", (*place, value.key), f"the object {problem}; remove one", at=At.KEY)
    return Finding("VALUE_NOT_STORABLE", place, f"the value {problem}")


def _findings(document: dict[str, Any], known: Known) -> Iterator[Finding]:
    near, types = Near(), SchemaTypes()
    steps = read_steps(document)
    yield from shape_findings(document, near)
    yield from trigger_findings(document)
    yield from name_findings(document, steps, known, near)
    yield from flow_findings(document, steps, known)
    scopes = run_scopes(document, steps, known, types)
    yield from variable_findings(steps, scopes, near)
    yield from input_findings(steps, scopes, known)
    yield from wait_findings(steps, scopes, known)
    scopes = trigger_scopes(document, known, types)
    yield from trigger_read_findings(document, scopes, near)
    yield from trigger_input_findings(document, scopes, known)


def _bounded(findings: Iterable[Finding]) -> list[Finding]:
    """Return the first errors and the first warnings. More warnings never hide an error."""
    kept: list[Finding] = []
    left = {Severity.ERROR: MAX_PROBLEMS, Severity.WARNING: MAX_PROBLEMS}
    for finding in findings:
        severity = CODES[finding.code].severity
        if left[severity]:
            left[severity] -= 1
            kept.append(finding)
        if not left[Severity.ERROR]:
            break
    if not all(left.values()):
        message = f"the definition has more than {MAX_PROBLEMS} problems; correct these first, then validate again"
        kept.append(Finding("PROBLEMS_CUT", (), message))
    return kept
