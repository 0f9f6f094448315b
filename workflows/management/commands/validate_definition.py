"""`manage.py validate_definition FILE [--tenant SLUG]`: validate the text of a definition without storing it.

Source: docs/errors.md#problems-of-a-definition
"""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.engine.validate import Problem
from workflows.management.commands.import_bundle import find_tenant
from workflows.management.scoped import SystemCommand
from workflows.services.definitions.problems import definition_text_problems


class Command(SystemCommand):
    help = "Validate a file with a definition against the names of a tenant. The exit code is 1 if it has an error."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--tenant", help="slug of the tenant; needed if there are several")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant(options["tenant"])
        try:
            text = options["file"].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"the file cannot be read: {error}; give a file with UTF-8 text") from error
        problems = definition_text_problems(text, tenant_id=tenant.id)[1]
        for problem in problems:
            self.stdout.write(f"{options['file']}:{_line(problem)}")
        errors = sum(problem.is_error for problem in problems)
        if errors:
            raise CommandError(f"{errors} errors and {len(problems) - errors} warnings; errors prevent publishing")
        self.stdout.write(f"the definition can be published; {len(problems)} warnings")


def _line(problem: Problem) -> str:
    hint = f" ({problem.suggestion})" if problem.suggestion else ""
    place = f" {problem.path}:" if problem.path else ""
    return f"{problem.line}:{problem.column}: {problem.severity} {problem.code}{place} {problem.message}{hint}"
