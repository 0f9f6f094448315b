"""`manage.py retention show|set`: retention periods of a tenant (docs/reference/retention.md#periods)."""

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.subcommands import SubcommandsCommand, add_tenant, tenant_and_actor
from workflows.services.retention.policy import COLUMNS, policy_of, retention_policy_save


def _add_set(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("--reason", default="")
    parser.add_argument("--confirm", action="store_true", help="save shorter periods, which delete more rows")
    for name in COLUMNS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, metavar="DAYS", help=f"days for {name}; absent: it does not change")


class Command(SubcommandsCommand):
    help = "Show or change the retention periods of a tenant."
    arguments = {"show": add_tenant, "set": _add_set}

    def do_show(self, options: dict[str, Any]) -> None:
        tenant, _ = tenant_and_actor(options)
        for name, days in policy_of(tenant).as_json().items():
            self.stdout.write(f"{name}: {days} days")

    def do_set(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        changes = {name: options[name] for name in COLUMNS if options[name] is not None}
        if not changes:
            raise CommandError("give at least one period, for example --runs 30. Nothing was changed")
        retention_policy_save(
            actor=actor,
            policy=replace(policy_of(tenant), **changes),
            is_confirmed=options["confirm"],
            reason=options["reason"],
        )
        self.do_show(options)
