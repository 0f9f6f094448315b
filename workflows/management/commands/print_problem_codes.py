"""`manage.py print_problem_codes`: print the table of the codes of definition problems.

`docs/errors.md` contains this table.
"""

from typing import Any

from django.core.management.base import BaseCommand

from workflows.engine.validation.codes import codes_table


class Command(BaseCommand):
    help = "Print the table of the codes of definition problems, as docs/errors.md contains it."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(codes_table(), ending="")
