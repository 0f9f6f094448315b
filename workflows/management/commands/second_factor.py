"""`manage.py second_factor reset`: help for people who lost all factors (docs/reference/sign-in.md#second-factors)."""

from typing import Any

from django.core.management.base import CommandParser

from workflows.management.subcommands import SubcommandsCommand, cli_actor
from workflows.models import Tenant
from workflows.services.second_factors import second_factors_reset


def _add_reset(parser: CommandParser) -> None:
    parser.add_argument("username")
    parser.add_argument("--reason", required=True, help="stored in the log of sign-ins, and sent to the person")


class Command(SubcommandsCommand):
    help = "Delete all second factors and recovery codes of an account, and end its sessions."
    arguments = {"reset": _add_reset}

    def do_reset(self, options: dict[str, Any]) -> None:
        actor = cli_actor(Tenant(), options["by"])
        done = second_factors_reset(actor=actor, username=options["username"], reason=options["reason"])
        name = options["username"]
        self.stdout.write(
            f"The second factors and recovery codes of {name} are deleted. Ended sessions: {done.sessions}."
        )
        if done.mail_problem:
            self.stderr.write(done.mail_problem)
