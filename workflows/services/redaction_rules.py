"""Redaction rules of a tenant. Its administrators read and change them.

Source: docs/reference/administration.md#tenants-and-roles
"""

from typing import Any

from workflows.actors import Actor
from workflows.errors import InputInvalid
from workflows.models import Tenant
from workflows.redaction import MAX_RULES, rule_problem
from workflows.services.idempotency import keyed_command_transaction
from workflows.services.roles import require_role
from workflows.statuses import CommandAction, Role


def redaction_rules_save(*, actor: Actor, rules: Any, idempotency_key: str = "") -> list[str]:
    """Store the rules and return them.

    The rules apply from the next page or response, even to data that was stored before.

    Errors: InputInvalid REDACTION_RULE_INVALID, PermissionRefused.
    """
    if not isinstance(rules, list) or len(rules) > MAX_RULES:
        require_redaction_role(actor=actor)
        raise InputInvalid(
            f"the redaction rules must be a list of at most {MAX_RULES} texts", code="REDACTION_RULE_INVALID"
        )
    for number, rule in enumerate(rules, start=1):
        problem = rule_problem(rule)
        if problem is not None:
            require_redaction_role(actor=actor)
            raise InputInvalid(
                f"rule {number}: {problem}", code="REDACTION_RULE_INVALID", details={"index": number - 1}
            )
    unique = list(dict.fromkeys(rule.strip() for rule in rules))
    with keyed_command_transaction(
        actor=actor,
        action=CommandAction.EDIT_REDACTION,
        target_type="redaction rules",
        target_id="",
        payload=unique,
        idempotency_key=idempotency_key,
    ):
        actor.require(Role.ADMIN, to="change the redaction rules")
        Tenant.objects.filter(id=actor.tenant_id).update(redaction_rules=unique)
    return unique


def require_redaction_role(*, actor: Actor) -> None:
    """Refuse an actor who may not change the rules.

    Call this function before errors in the request are reported.

    Errors: PermissionRefused; the attempt is recorded in the ledger.
    """
    require_role(
        actor=actor,
        needs=Role.ADMIN,
        to="change the redaction rules",
        action=CommandAction.EDIT_REDACTION,
        target_type="redaction rules",
    )


def redaction_rules_of(*, actor: Actor) -> list[str]:
    """Return the rules of the actor's tenant. If a stored value is not text, it is left out.

    Errors: PermissionRefused.
    """
    actor.require(Role.ADMIN, to="see the redaction rules")
    stored = Tenant.objects.values_list("redaction_rules", flat=True).get(id=actor.tenant_id)
    return [rule for rule in stored if isinstance(rule, str)] if isinstance(stored, list) else []
