"""`manage.py tenant`: tenants, their limits and their maintenance (docs/reference/administration.md#tenants)."""

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.subcommands import SubcommandsCommand, cli_actor
from workflows.models import Tenant
from workflows.services.maintenance import tenant_maintenance_end, tenant_maintenance_start
from workflows.services.sign_in_rules import second_factor_require
from workflows.services.tenant_usage import NAMES, uses_of
from workflows.services.tenants import MOST, limits_of, tenant_create, tenant_edit

REQUIRED, OPTIONAL = SECOND_FACTOR_RULES = ("required", "optional")


def _add_create(parser: CommandParser) -> None:
    parser.add_argument("slug", help="short name in small letters, for example north-desk")
    parser.add_argument("--name", required=True, help="name that people see")


def _add_none(parser: CommandParser) -> None:
    """The subcommand has no arguments."""


def _add_slug(parser: CommandParser) -> None:
    parser.add_argument("slug")
    parser.add_argument("--reason", default="")


def _add_rename(parser: CommandParser) -> None:
    _add_slug(parser)
    parser.add_argument("--name", required=True, help="new name that people see")


def _add_limits(parser: CommandParser) -> None:
    _add_slug(parser)
    for name in MOST:
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, metavar="NUMBER", help=f"{NAMES[name]}; 0: no limit"
        )


def _add_second_factor(parser: CommandParser) -> None:
    _add_slug(parser)
    parser.add_argument("rule", choices=SECOND_FACTOR_RULES)


class Command(SubcommandsCommand):
    help = (
        "Create, list, rename, close and open tenants, set their limits and their rule for second factors, start and"
        " end their maintenance."
    )
    arguments = {
        "create": _add_create,
        "list": _add_none,
        "rename": _add_rename,
        "close": _add_slug,
        "open": _add_slug,
        "limits": _add_limits,
        "second-factor": _add_second_factor,
        "start-maintenance": _add_slug,
        "end-maintenance": _add_slug,
    }

    def handle(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **{**options, "what": options["what"].replace("-", "_")})

    def do_create(self, options: dict[str, Any]) -> None:
        actor = cli_actor(Tenant(), options["by"])
        tenant = tenant_create(actor=actor, slug=options["slug"], name=options["name"])
        self.stdout.write(
            f"The tenant {tenant.slug} exists. Add a member:"
            f" manage.py member save NAME --role admin --tenant {tenant.slug}"
        )

    def do_list(self, options: dict[str, Any]) -> None:
        for tenant in Tenant.objects.order_by("slug"):
            note = "  (maintenance)" if tenant.maintenance_since else ""
            self.stdout.write(f"{'open' if tenant.is_active else 'closed':6}  {tenant.slug}  {tenant.name}{note}")

    def do_rename(self, options: dict[str, Any]) -> None:
        tenant = self._edit(options, name=options["name"])
        self.stdout.write(f"The tenant {tenant.slug} has the name {tenant.name}.")

    def do_close(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"The tenant {self._edit(options, is_active=False).slug} is closed. Its open runs go on.")

    def do_open(self, options: dict[str, Any]) -> None:
        self.stdout.write(f"The tenant {self._edit(options, is_active=True).slug} is open.")

    def do_limits(self, options: dict[str, Any]) -> None:
        """Change the limits that are given. Print the limits and the last measurement."""
        given = {name: options[name] or None for name in MOST if options[name] is not None}
        tenant = _tenant(options["slug"])
        if given:
            tenant = self._edit(options, limits=replace(limits_of(tenant), **given))
        for use in uses_of(tenant):
            limit = "no limit" if use.limit is None else f"{use.limit:,}"
            used = "not measured yet" if use.used is None else f"{use.used:,} used"
            self.stdout.write(f"{NAMES[use.name]}: {limit}, {used}")

    def do_second_factor(self, options: dict[str, Any]) -> None:
        tenant, is_required = _tenant(options["slug"]), options["rule"] == REQUIRED
        actor = cli_actor(tenant, options["by"])
        second_factor_require(actor=actor, is_required=is_required, reason=options["reason"])
        verb = "need a second factor" if is_required else "may sign in without a second factor"
        self.stdout.write(f"The members of {tenant.slug} {verb}. The rule applies to their next request.")

    def do_start_maintenance(self, options: dict[str, Any]) -> None:
        tenant, reason = _tenant(options["slug"]), options["reason"]
        tenant_maintenance_start(actor=cli_actor(tenant, options["by"]), slug=tenant.slug, reason=reason)
        self.stdout.write(f"The tenant {tenant.slug} is in maintenance. New starts are held.")

    def do_end_maintenance(self, options: dict[str, Any]) -> None:
        tenant, reason = _tenant(options["slug"]), options["reason"]
        tenant_maintenance_end(actor=cli_actor(tenant, options["by"]), slug=tenant.slug, reason=reason)
        self.stdout.write(f"The maintenance of the tenant {tenant.slug} has ended. Held starts begin.")

    def _edit(self, options: dict[str, Any], **changes: Any) -> Tenant:
        tenant = _tenant(options["slug"])
        actor = cli_actor(tenant, options["by"])
        return tenant_edit(actor=actor, slug=tenant.slug, reason=options.get("reason", ""), **changes)


def _tenant(slug: str) -> Tenant:
    """Return a tenant, also a closed one. Errors: CommandError."""
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f"there is no tenant {slug!r}; `manage.py tenant list` shows all tenants")
    return tenant
