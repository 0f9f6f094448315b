"""Retention periods of a tenant (docs/reference/retention.md#periods)."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from tests.support.factories import make_actor
from tests.support.management_commands import run_command
from workflows.errors import InputInvalid, PermissionRefused
from workflows.models import Command, Tenant
from workflows.services.retention import policy as policy_module
from workflows.services.retention.policy import RetentionPolicy, policy_of, retention_policy_save
from workflows.statuses import Role

DEFAULTS = {"runs": 90, "events": 90, "notifications": 90, "ledger": 730}


def test_the_periods_have_defaults_and_each_change_is_in_the_ledger(tenant: Any) -> None:
    assert policy_of(tenant).as_json() == DEFAULTS
    output = run_command("retention", "set", "--tenant", tenant.slug, "--runs", "30", "--reason", "law", "--by", "maya")
    assert output.splitlines()[0] == "runs: 30 days"
    command = Command.objects.get(tenant=tenant)
    assert (command.action, command.actor_name, command.reason, command.state) == (
        "edit_retention", "maya", "law", "observed",
    )  # fmt: skip
    assert (command.payload, command.details) == ({**DEFAULTS, "runs": 30}, {"before": DEFAULTS})
    assert "runs: 30 days" in run_command("retention", "show", "--tenant", tenant.slug)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"runs": 6}, "runs", "from 7 to"),
        ({"events": 0}, "events", "from 7 to"),
        ({"notifications": 36_501}, "notifications", "36,500 days"),
        ({"ledger": 89}, "ledger", "from 90 to"),
        ({"runs": 731}, "ledger", "at least as long as runs"),
        ({"runs": 19}, "runs", "Temporal keeps the history of a run for 20 days"),
    ],
)
def test_a_period_that_is_too_short_is_refused(
    tenant: Any, monkeypatch: pytest.MonkeyPatch, changes: dict[str, int], field: str, words: str
) -> None:
    monkeypatch.setattr(policy_module, "namespace_retention", lambda: timedelta(days=19, hours=1))
    with pytest.raises(InputInvalid, match=words) as caught:
        retention_policy_save(actor=make_actor(tenant), policy=RetentionPolicy(**{**DEFAULTS, **changes}))
    assert list((caught.value.details or {})["fields"]) == [field]
    assert policy_of(Tenant.objects.get(id=tenant.id)).as_json() == DEFAULTS


def test_only_administrators_change_the_periods(tenant: Any) -> None:
    with pytest.raises(PermissionRefused):
        retention_policy_save(actor=make_actor(tenant, Role.AUTHOR), policy=RetentionPolicy(**DEFAULTS))
    assert Command.objects.get(tenant=tenant).state == "refused"


def test_the_command_reports_a_refusal(tenant: Any) -> None:
    with pytest.raises(CommandError, match="RETENTION_INVALID: events"):
        run_command("retention", "set", "--tenant", tenant.slug, "--events", "1")
