"""Actions `email.send` and `notifications.send_in_app`, with the fields that documents written elsewhere use."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail

from tests.support.factories import make_run, make_tenant
from tests.support.perform_action import perform_action
from workflows.engine.errors import RunError
from workflows.models import Notification, TenantMembership


def member(tenant: Any, name: str, role: str = "operator") -> Any:
    user = get_user_model().objects.create_user(f"{name}-{tenant.slug}")
    TenantMembership.objects.create(tenant=tenant, user=user, role=role)
    return user


def notify(run: Any, **value: Any) -> dict[str, Any]:
    return perform_action(run, "notifications.send_in_app", {"title": "T", "body": "B", "severity": "info", **value})


def test_a_repeated_dedupe_key_returns_the_first_notification(tenant: Any) -> None:
    mei, tom = member(tenant, "mei"), member(tenant, "tom")
    first = notify(make_run(tenant), recipients={"user_ids": [str(mei.id)]}, dedupe_key="invoice-7")
    again = notify(make_run(tenant), recipients={"user_ids": [mei.username, tom.id]}, dedupe_key="invoice-7")
    assert (first["created"], again["created"], again["delivered_count"]) == (1, 1, 2)
    assert first["notification_ids"][0] in again["notification_ids"]
    rows = Notification.objects.filter(tenant=tenant)
    assert {row.user_id for row in rows} == {mei.id, tom.id}
    assert rows.count() == 2
    assert notify(make_run(tenant), recipients=[mei.username], dedupe_key="invoice-8")["created"] == 1


def test_dedupe_keys_of_two_tenants_are_separate(tenant: Any) -> None:
    other = make_tenant()
    for place in (tenant, other):
        value = {"recipients": {"userIds": member(place, "mei").username}, "dedupeKey": "k"}
        assert notify(make_run(place), **value)["created"] == 1


def test_recipients_are_selected_by_role_name_in_any_case(tenant: Any) -> None:
    mei = member(tenant, "mei", role="author")
    sent = notify(make_run(tenant), recipients={"role_names": ["Author", "Dispatcher"], "user_ids": ["u-1"]})
    assert (sent["sent"], sent["unknown"]) == (1, ["u-1", "Dispatcher"])
    assert Notification.objects.get(tenant=tenant).user == mei


def test_recipients_of_an_email_are_text_or_name_and_address(tenant: Any) -> None:
    value = {
        "to": [{"email": "mei@example.org", "name": "Méi, Lin"}, "tom@example.org"],
        "cc": {"email": "c@example.org"},
        "bcc": "b@example.org",
        "reply_to": [{"email": "help@example.org", "name": "Help"}],
        "subject": f"S {tenant.slug}",
        "text": "plain",
        "html": "<b>rich</b>",
    }
    assert perform_action(make_run(tenant), "email.send", value)["accepted"] == 4
    (sent,) = [message for message in mail.outbox if message.subject == value["subject"]]
    assert "tom@example.org" in sent.to
    assert (sent.cc, sent.bcc, sent.reply_to) == (["c@example.org"], ["b@example.org"], ["Help <help@example.org>"])
    text = sent.message().as_string()
    assert "mei@example.org" in text
    assert "b@example.org" not in text
    assert (sent.body, sent.alternatives[0].content) == ("plain", "<b>rich</b>")


def test_the_same_idempotency_key_sends_one_email_from_two_runs(tenant: Any) -> None:
    value = {"to": ["a@example.org"], "subject": f"Once {tenant.slug}", "text": "x", "idempotency_key": "order-7"}
    first = perform_action(make_run(tenant), "email.send", value)
    second = perform_action(make_run(tenant), "email.send", {**value, "text": "y"})
    assert first == second
    assert len([message for message in mail.outbox if message.subject == value["subject"]]) == 1
    perform_action(make_run(tenant), "email.send", {**value, "idempotency_key": "order-8"})
    assert len([message for message in mail.outbox if message.subject == value["subject"]]) == 2


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"to": [{"email": "a@example.org", "name": "A\r\nBcc: x@example.org"}]}, "to.0.name"),
        ({"to": [{"mail": "a@example.org"}]}, "to.0.email"),
        ({"to": [], "cc": ["a@example.org"]}, "to"),
        ({"bcc": [f"a{n}@example.org" for n in range(100)]}, ""),
        ({"reply_to": "a@example.org", "replyTo": "b@example.org"}, ""),
        ({"from": "a@example.org"}, "from"),
    ],
)
def test_an_email_with_unusable_fields_is_refused_with_the_place(tenant: Any, change: Any, path: str) -> None:
    value = {"to": ["a@example.org"], "subject": "S", "text": "x", **change}
    with pytest.raises(RunError) as caught:
        perform_action(make_run(tenant), "email.send", value)
    assert (caught.value.code, caught.value.details["problems"][0]["path"]) == ("ACTION_INPUT_INVALID", path)
