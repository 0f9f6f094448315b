"""Retention periods of a tenant (docs/reference/retention.md#periods)."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError
from django.urls import reverse

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_token
from tests.support.management_commands import run_command
from tests.support.members import member_of
from tests.support.old_runs import make_old_event, make_old_run
from tests.support.table_owner import execute_as_owner
from workflows.errors import InputInvalid, PermissionRefused
from workflows.ledger import command_open
from workflows.models import Command, CommandEntry, RunHold, Tenant
from workflows.services.retention import policy as policy_module
from workflows.services.retention import preview as preview_module
from workflows.services.retention.policy import RetentionPolicy, policy_of, retention_policy_save
from workflows.statuses import CommandAction, Role

DEFAULTS = {"runs": 90, "events": 90, "notifications": 90, "ledger": 730, "sign_ins": 365}


def test_the_periods_have_defaults_and_each_change_is_in_the_ledger(tenant: Any) -> None:
    assert policy_of(tenant).as_json() == DEFAULTS
    words = ("--tenant", tenant.slug, "--runs", "30", "--reason", "law", "--by", "maya")
    output = run_command("retention", "set", *words, "--confirm")
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
        ({"sign_ins": 89}, "sign_ins", "from 90 to"),
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


def test_shorter_periods_must_be_confirmed(tenant: Any) -> None:
    admin, shorter = Api(make_token(tenant, Role.ADMIN)), {**DEFAULTS, "events": 45, "runs": 100}
    for days in (100, 50, 40):
        make_old_event(tenant, days=days)
    error = error_of(admin.put("/retention", shorter, **{"Idempotency-Key": "k"}), 409)
    assert (error["code"], error["details"]) == ("RETENTION_NOT_CONFIRMED", {"older": {"events": "2"}})
    words = ("retention", "set", "--tenant", tenant.slug, "--events", "45", "--runs", "100")
    with pytest.raises(CommandError, match=r"NOT_CONFIRMED: .*events: 2 older than 45 days\. .*--confirm"):
        run_command(*words)
    assert policy_of(Tenant.objects.get(id=tenant.id)).as_json() == DEFAULTS
    assert not Command.objects.filter(tenant=tenant).exists()
    confirmed = admin.put("/retention", {**shorter, "confirm": True}, **{"Idempotency-Key": "k"})
    assert (confirmed.status_code, confirmed.json()) == (200, shorter)
    assert admin.put("/retention", {**shorter, "events": 60}).status_code == 200, "a longer period deletes less"


def test_only_administrators_change_the_periods(tenant: Any) -> None:
    with pytest.raises(PermissionRefused):
        retention_policy_save(actor=make_actor(tenant, Role.AUTHOR), policy=RetentionPolicy(**DEFAULTS))
    assert Command.objects.get(tenant=tenant).state == "refused"


def test_the_command_reports_a_refusal(tenant: Any) -> None:
    with pytest.raises(CommandError, match="RETENTION_INVALID: events"):
        run_command("retention", "set", "--tenant", tenant.slug, "--events", "1")


# -- Page and API ------------------------------------------------------------------------------------------------------


def test_the_page_keeps_what_was_typed_and_shows_the_error_beside_the_field(
    tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, address = member_of(tenant, role="admin"), reverse("admin:retention")
    typed = {"runs": "400", "events": "45", "notifications": "20", "ledger": "365", "sign_ins": "90", "reason": "law"}
    refused = browser.post(address, typed)
    form = refused.context["form"]
    assert (refused.status_code, list(form.errors)) == (200, ["ledger"])
    assert "at least as long as runs" in str(form.errors["ledger"])
    assert 'value="45"' in refused.content.decode()
    assert list(browser.post(address, {**typed, "events": "3"}).context["form"].errors) == ["events"]
    assert policy_of(Tenant.objects.get(id=tenant.id)).as_json() == DEFAULTS

    # Shorter periods delete more, so the page first shows how many rows.
    for days in (100, 50, 40):
        make_old_event(tenant, days=days)
    typed["ledger"] = "400"
    preview = browser.post(address, typed)
    assert preview.status_code == 200
    assert preview.context["form"].preview == {
        "Events": "2 older than 45 days", "Notifications": "0 older than 20 days",
        "Command ledger": "0 older than 400 days", "Sign-ins": "0 older than 90 days",
    }  # fmt: skip
    assert "Events: 2 older than 45 days" in preview.content.decode()
    assert policy_of(Tenant.objects.get(id=tenant.id)).as_json() == DEFAULTS
    typed["confirmed"] = preview.context["form"]["confirmed"].value()
    assert browser.post(address, {**typed, "events": "46"}).status_code == 200, "other periods have other numbers"
    with monkeypatch.context() as patch:
        patch.setattr(preview_module, "MOST_COUNTED", 1)
        assert "Events: 1+ older" in browser.post(address, {**typed, "confirmed": ""}).content.decode()

    assert browser.post(address, typed).status_code == 302
    saved = {"runs": 400, "events": 45, "notifications": 20, "ledger": 400, "sign_ins": 90}
    assert policy_of(Tenant.objects.get(id=tenant.id)).as_json() == saved
    assert Command.objects.get(tenant=tenant, state="observed").reason == "law"
    author = member_of(tenant, role="author")
    assert [author.get(address).status_code, author.post(address, typed).status_code] == [403, 403]


def test_the_page_lists_holds_and_deletions(tenant: Any, django_assert_max_num_queries: Any) -> None:
    held, _ = make_old_run(tenant), make_old_run(tenant)
    RunHold.objects.create(tenant=tenant, run=held, reason="court case 17", held_by_name="maya")
    command_open(
        actor=make_actor(tenant), action=CommandAction.CANCEL, target_type="run", target_id=str(held.id), run=held
    )
    execute_as_owner(
        f"UPDATE workflow_command_entries SET written_at = now() - interval '731 days' WHERE tenant_id = '{tenant.id}'"
    )
    run_command("prune", "--tenant", tenant.slug)
    link = CommandEntry.objects.filter(tenant=tenant).order_by("seq")[0].seq
    browser = member_of(tenant, role="admin")
    with django_assert_max_num_queries(12):
        text = browser.get(reverse("admin:retention")).content.decode()
    assert "court case 17" in text
    assert "runs: 1" in text
    assert f"The command ledger is kept from link {link} on" in text
    assert "running, or its process was killed" not in text
    Command.objects.filter(tenant=tenant, action="prune").update(details={"deletedRows": {}, "isEnded": False})
    assert "running, or its process was killed" in browser.get(reverse("admin:retention")).content.decode()


def test_the_api_reads_and_replaces_the_periods(tenant: Any) -> None:
    admin = Api(make_token(tenant, Role.ADMIN))
    assert admin.get("/retention").json() == DEFAULTS
    changed = {**DEFAULTS, "runs": 60}
    for _ in range(2):
        answer = admin.put("/retention", {**changed, "confirm": True, "reason": "law"}, **{"Idempotency-Key": "k"})
        assert (answer.status_code, answer.json()) == (200, changed)
    error = error_of(admin.put("/retention", {**changed, "events": 1}), 400)
    assert (error["code"], list(error["details"]["fields"])) == ("RETENTION_INVALID", ["events"])
    assert error_of(admin.put("/retention", {**changed, "eventz": 1}), 400)["code"] == "VALIDATION_ERROR"
    author = Api(make_token(tenant, Role.AUTHOR))
    assert [author.get("/retention").status_code, author.put("/retention", {}).status_code] == [403, 403]
