"""Results of an import as lines of text, for commands and pages."""

from collections.abc import Mapping
from typing import Any

from workflows.services.bundle_store import Imported


def result_lines(item: Imported) -> list[str]:
    """Return the outcome of one workflow, and then one indented line for each note."""
    versions = f", versions {', '.join(map(str, item.versions))}" if item.versions else ""
    published = f", published version {item.published}" if item.published else ""
    return [f"{item.key}: {item.outcome}{versions}{published}", *(f"  {note}" for note in result_notes(item))]


def result_notes(item: Imported) -> list[str]:
    """Return everything that the author must know about the import of one workflow."""
    return [
        *map(problem_line, item.problems),
        *(f"missing {entry['kind']} {entry['name']}: {entry['message']}" for entry in item.missing),
        *(
            f"placeholder for the {entry['kind']} {entry['name']}: replace it before publishing"
            for entry in item.placeholders
        ),
        *(f"{entry['path']}: the step id {entry['from']} is now {entry['to']}" for entry in item.renamed),
        *(
            f"{call['path']}: {call['workflow']}@{call['version']} is now {call['key']}@{call['number']}"
            for call in item.references
        ),
        *(
            f"{call['path']}: no workflow {call['workflow']} is known; a run that reaches this step fails"
            for call in item.unresolved
        ),
        *(f"warning: {problem_line(warning)}" for warning in item.warnings),
    ]


def problem_line(problem: Mapping[str, Any]) -> str:
    """Return a problem as one line: code, place, message and suggestion."""
    hint = f" ({problem['suggestion']})" if problem.get("suggestion") else ""
    workflow = f"{problem['workflow']}: " if problem.get("workflow") else ""
    place = f" at {problem['path']}" if problem.get("path") else ""
    return f"{workflow}{problem['code']}{place}: {problem['message']}{hint}"
