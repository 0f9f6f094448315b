"""A tenant's redaction rules (docs/reference/administration.md#tenants-and-roles), changed by its administrators."""

from typing import Any

from workflows.actors import Actor
from workflows.errors import InputInvalid
from workflows.ledger import command_transaction
from workflows.models import Tenant
from workflows.redaction import MAX_RULES, rule_problem
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role


def redaction_rules_save(*, actor: Actor, rules: Any) -> list[str]:
    """The rules as stored; they hold from the next page or answer on, for what was stored before too.

    Errors: InputInvalid, PermissionRefused.
    """
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        require_redaction_role(actor=actor)
        raise InputInvalid(f"the rules are a list of at most {MAX_RULES} texts", code="REDACTION_RULE_INVALID")
    for number, rule in enumerate(rules, start=1):
        problem = rule_problem(rule)
        if problem is not None:
            require_redaction_role(actor=actor)
            raise InputInvalid(
                f"rule {number}: {problem}", code="REDACTION_RULE_INVALID", details={"index": number - 1}
            )
    kept = list(dict.fromkeys(rule.strip() for rule in rules))
    with command_transaction(
        actor=actor, action=CommandAction.EDIT_REDACTION, target_type="redaction rules", target_id="", payload=kept
    ):
        actor.require(Role.ADMIN, to="change the redaction rules")
        Tenant.objects.filter(id=actor.tenant_id).update(redaction_rules=kept)
    return kept


def require_redaction_role(*, actor: Actor) -> None:
    """For a request that cannot be taken as it was sent. Errors: PermissionRefused; the denied attempt is recorded."""
    require_role(
        actor=actor, needs=Role.ADMIN, to="change the redaction rules", action=CommandAction.EDIT_REDACTION,
        target_type="redaction rules",
    )  # fmt: skip


def redaction_rules_of(*, actor: Actor) -> list[str]:
    """Errors: PermissionRefused."""
    actor.require(Role.ADMIN, to="see the redaction rules")
    stored = Tenant.objects.values_list("redaction_rules", flat=True).get(id=actor.tenant_id)
    return [rule for rule in stored if isinstance(rule, str)] if isinstance(stored, list) else []
