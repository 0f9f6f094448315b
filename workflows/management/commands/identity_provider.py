"""`manage.py identity_provider save|list|delete`: sign-in through OpenID Connect (docs/reference/sign-in.md)."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from workflows.management.subcommands import SubcommandsCommand, add_tenant, tenant_and_actor
from workflows.models import IdentityProvider
from workflows.services.identity_providers import ProviderFields, identity_provider_delete, identity_provider_save


def _add_save(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("name", help="short name, for example company-login")
    parser.add_argument("--issuer", required=True, help="`issuer` of the provider's configuration")
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--secret", required=True, help="name of the secret of the tenant with the client secret")
    parser.add_argument("--group-claim", default="groups")
    parser.add_argument("--role", action="append", default=[], metavar="GROUP=ROLE", help="repeatable")
    parser.add_argument(
        "--scope", action="append", default=[], help="scope besides openid, profile and email; repeatable"
    )
    parser.add_argument("--inactive", action="store_true", help="nobody can sign in through the provider")


def _add_delete(parser: CommandParser) -> None:
    add_tenant(parser)
    parser.add_argument("name")
    parser.add_argument("--reason", default="")


class Command(SubcommandsCommand):
    help = "Save, list and delete OpenID Connect providers of a tenant."
    arguments = {"save": _add_save, "list": add_tenant, "delete": _add_delete}

    def do_save(self, options: dict[str, Any]) -> None:
        tenant, actor = tenant_and_actor(options)
        fields = ProviderFields(
            issuer=options["issuer"],
            client_id=options["client_id"],
            secret_name=options["secret"],
            group_claim=options["group_claim"],
            roles=dict(map(_group_and_role, options["role"])),
            extra_scopes=options["scope"],
            is_active=not options["inactive"],
        )
        row, _ = identity_provider_save(actor=actor, name=options["name"], fields=fields)
        self.stdout.write(
            f"The provider {row.name} of {tenant.slug} is saved. Its redirect address is"
            f" PUBLIC_URL/account/oidc/{row.id}/login/callback/"
        )

    def do_list(self, options: dict[str, Any]) -> None:
        tenant, _ = tenant_and_actor(options)
        for row in IdentityProvider.objects.filter(tenant=tenant).order_by("name"):
            roles = ", ".join(f"{group}={role}" for group, role in row.roles.items())
            self.stdout.write(f"{row.name}  {'active' if row.is_active else 'off':6}  {row.issuer}  {roles}")

    def do_delete(self, options: dict[str, Any]) -> None:
        _, actor = tenant_and_actor(options)
        identity_provider_delete(actor=actor, name=options["name"], reason=options["reason"])
        self.stdout.write(f"The provider {options['name']} is deleted. Nobody can sign in through it.")


def _group_and_role(text: str) -> tuple[str, str]:
    group, sign, role = text.rpartition("=")
    if not sign:
        raise CommandError(f"--role {text}: write GROUP=ROLE, for example --role desk=operator")
    return group, role
