"""`manage.py devstack`: run and control the development stack (docs/devstack.md)."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from portal.devstack import programs, stack
from portal.devstack.config import StackConfig
from portal.devstack.control import NOT_RUNNING, Control, StackNotRunning
from portal.devstack.errors import StackError
from portal.devstack.progress import Listener

_ACTIONS = ("run", "status", "stop", "start", "restart")


class Command(BaseCommand):
    help = "Run the development stack (run), show its programs (status), or stop, start and restart programs by name."
    # The system checks need the servers of the stack. So they cannot run before this command has started the stack.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=_ACTIONS, help="action; `stop` without a name stops the whole stack")
        parser.add_argument("name", nargs="?", default="", help="name of a program, as in the output of `status`")

    def handle(self, *args: Any, action: str, name: str, **options: Any) -> None:
        if name and action in {"run", "status"}:
            raise CommandError(f"`devstack {action}` takes no program name.")
        if not name and action in {"start", "restart"}:
            raise CommandError(
                f"`devstack {action}` needs the name of a program. `devstack run` starts the whole stack."
            )
        try:
            config = StackConfig.from_settings(settings)
            if action == "run":
                sys.exit(stack.run(config, sys.stdout))
            self._control(config, action, name)
        except StackNotRunning as error:
            raise CommandError(str(error), returncode=NOT_RUNNING) from error
        except StackError as error:
            raise CommandError(str(error)) from error

    def _control(self, config: StackConfig, action: str, name: str) -> None:
        control = Control(config.home, self.stdout.write, replaced=config.replaced())
        if action == "status":
            control.status()
        elif action == "stop" and not name:
            control.stop_all()
        elif action == "stop":
            control.stop(name)
        else:
            plan = programs.plan(config, stack.find_cli(config, Listener(self.stdout.write)))
            probes = {program.name: program.problem for program in plan.programs if program.problem}
            control = Control(config.home, self.stdout.write, probes=probes, replaced=config.replaced())
            getattr(control, action)(name)
