"""Secrets: encryption for one tenant and one name, and use by administrators only. No response shows a value."""

import json
import secrets
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.support.factories import make_actor, make_definition, make_tenant, make_token, publish
from tests.support.members import member_of
from workflows.engine.definition import canonical_text
from workflows.engine.errors import RunError
from workflows.errors import DependencyDown, InputInvalid, NotFound, PermissionRefused
from workflows.models import Command, Definition, Secret
from workflows.services.references import Referred
from workflows.services.secrets import secret_delete, secret_save, secret_values, secrets_rotate
from workflows.services.uses import uses_of
from workflows.statuses import Role

VALUE = "correct-horse-battery"
OLD, NEW = {"2025": secrets.token_bytes(32)}, {"2026": secrets.token_bytes(32)}
CALL = {
    "id": "c",
    "type": "action.call",
    "config": {"actionId": "http.request", "version": 1, "inputMapping": {"url": {"$secret": "HOOK"}}},
}


def save(tenant: Any, name: str = "HOOK", value: Any = VALUE, **more: Any) -> Secret:
    return secret_save(actor=make_actor(tenant), name=name, value=value, **more)[0]


def values(tenant: Any, *names: str) -> dict[str, str]:
    return secret_values(tenant_id=tenant.id, names=names or ("HOOK",))


def commands(tenant: Any) -> list[tuple[str, str, str, str]]:
    rows = Command.objects.filter(tenant=tenant, target_type__startswith="secret").order_by("requested_at")
    return [(row.action, row.target_id, row.state, row.code) for row in rows]


# -- Encryption -------------------------------------------------------------------------------------------------------


def test_value_is_encrypted_and_decrypted(tenant: Any) -> None:
    secret = save(tenant, description="for the hook")
    assert VALUE.encode() not in bytes(secret.ciphertext)
    assert values(tenant) == {"HOOK": VALUE}
    save(tenant, value="another-value")
    secret.refresh_from_db()
    assert (secret.description, secret.rotated_at is not None, values(tenant)["HOOK"]) == (
        "for the hook",
        True,
        "another-value",
    )


def test_ciphertext_is_valid_only_in_its_own_row(tenant: Any) -> None:
    hook, other = save(tenant), save(tenant, "OTHER", "another-value")
    stranger = save(make_tenant())
    for row, ciphertext in ((other, hook.ciphertext), (stranger, hook.ciphertext), (hook, hook.ciphertext[:5])):
        Secret.objects.filter(id=row.id).update(ciphertext=ciphertext)
        with pytest.raises(RunError) as failed:
            values(row.tenant, row.name)
        assert failed.value.code == "SECRET_UNREADABLE"
        assert "was changed or copied" in failed.value.message


def test_missing_key_is_transient_and_a_missing_secret_is_not(tenant: Any, settings: Any) -> None:
    settings.WORKFLOW_SECRET_KEYS = OLD
    save(tenant)
    settings.WORKFLOW_SECRET_KEYS = NEW
    with pytest.raises(RunError, match="with the key '2025', but this process does not have that key") as failed:
        values(tenant)
    assert (failed.value.code, failed.value.category) == ("SECRET_UNREADABLE", "TransientError")
    with pytest.raises(RunError) as failed:
        values(tenant, "HOOK", "NOPE")
    assert (failed.value.code, failed.value.category, failed.value.details) == (
        "SECRET_UNKNOWN",
        "ValidationError",
        {"names": ["NOPE"]},
    )
    with pytest.raises(RunError) as failed:
        values(make_tenant())
    assert failed.value.code == "SECRET_UNKNOWN"


def test_nothing_is_saved_without_a_key(tenant: Any, settings: Any) -> None:
    settings.WORKFLOW_SECRET_KEYS = {}
    with pytest.raises(DependencyDown, match="WORKFLOW_SECRET_KEYS"):
        save(tenant)
    assert not Secret.objects.filter(tenant=tenant).exists()
    assert commands(tenant) == [("save_secret", "HOOK", "refused", "SECRET_KEYS_MISSING")]


def test_rotation_encrypts_again_and_reports_unreadable_secrets(tenant: Any, settings: Any) -> None:
    settings.WORKFLOW_SECRET_KEYS = OLD
    before = save(tenant)
    save(tenant, "LOST")
    Secret.objects.filter(tenant=tenant, name="LOST").update(key_id="2019")
    settings.WORKFLOW_SECRET_KEYS = NEW | OLD
    save(tenant, "CURRENT")
    planned = secrets_rotate(actor=make_actor(tenant), dry_run=True)
    assert (planned.rotated, planned.current, list(planned.unreadable)) == (["HOOK"], ["CURRENT"], ["LOST"])
    assert Secret.objects.get(id=before.id).key_id == "2025"
    assert secrets_rotate(actor=make_actor(tenant)).rotated == ["HOOK"]
    settings.WORKFLOW_SECRET_KEYS = NEW
    assert values(tenant, "HOOK", "CURRENT") == {"HOOK": VALUE, "CURRENT": VALUE}
    after = Secret.objects.get(id=before.id)
    assert (after.key_id, after.rotated_at) == ("2026", None)
    assert secrets_rotate(actor=make_actor(tenant)).rotated == []
    with pytest.raises(PermissionRefused):
        secrets_rotate(actor=make_actor(tenant, Role.AUTHOR), dry_run=True)


def test_command_rotates_every_tenant_and_fails_for_unreadable_secrets(tenant: Any, settings: Any) -> None:
    mine = settings.WORKFLOW_SECRET_KEYS
    save(tenant)
    settings.WORKFLOW_SECRET_KEYS = NEW | OLD | mine
    # Other tests leave unreadable rows behind.
    Secret.objects.exclude(tenant=tenant).delete()
    Authenticator.objects.all().delete()
    out = StringIO()
    call_command("rotate_secrets", "--dry-run", stdout=out)
    assert f"{tenant.slug}: 1 to encrypt again, 0 encrypted with the first key already, 0 unreadable" in out.getvalue()
    call_command("rotate_secrets", stdout=StringIO())
    assert Secret.objects.get(tenant=tenant).key_id == "2026"
    assert commands(tenant)[-1] == ("rotate_secrets", "", "observed", "")
    settings.WORKFLOW_SECRET_KEYS = OLD
    with pytest.raises(CommandError, match="1 secrets cannot be decrypted"):
        call_command("rotate_secrets", stdout=StringIO(), stderr=StringIO())


# -- Rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("hook", VALUE, "SECRET_NAME_INVALID"), ("", VALUE, "SECRET_NAME_INVALID"),
        ("A" * 201, VALUE, "SECRET_NAME_INVALID"),
        ("HOOK", "abc", "SECRET_VALUE_INVALID"), ("HOOK", "  abc  ", "SECRET_VALUE_INVALID"),
        ("HOOK", 12345, "SECRET_VALUE_INVALID"),
        ("HOOK", None, "SECRET_VALUE_INVALID"), ("HOOK", "x" * 65_537, "SECRET_VALUE_INVALID"),
        ("HOOK", "ab\x00cd", "SECRET_VALUE_INVALID"),
    ],
)  # fmt: skip
def test_invalid_names_and_values_are_refused(tenant: Any, name: str, value: Any, code: str) -> None:
    with pytest.raises(InputInvalid) as failed:
        save(tenant, name, value)
    assert failed.value.code == code
    assert str(value) not in failed.value.message or not value
    assert not Secret.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.AUTHOR])
def test_only_administrators_save_and_every_attempt_is_recorded_without_the_value(tenant: Any, role: Role) -> None:
    save(tenant, description="old")
    with pytest.raises(PermissionRefused):
        secret_save(actor=make_actor(tenant, role), name="HOOK", value="another-value")
    with pytest.raises(PermissionRefused):
        secret_delete(actor=make_actor(tenant, role), name="HOOK")
    assert values(tenant) == {"HOOK": VALUE}
    secret_delete(actor=make_actor(tenant), name="HOOK", reason="gone")
    with pytest.raises(NotFound):
        secret_delete(actor=make_actor(tenant), name="HOOK")
    assert commands(tenant) == [
        ("save_secret", "HOOK", "observed", ""), ("save_secret", "HOOK", "refused", "PERMISSION_DENIED"),
        ("delete_secret", "HOOK", "refused", "PERMISSION_DENIED"), ("delete_secret", "HOOK", "observed", ""),
        ("delete_secret", "HOOK", "refused", "SECRET_NOT_FOUND"),
    ]  # fmt: skip
    stored = json.dumps(list(Command.objects.filter(tenant=tenant).values()), default=str)
    assert not any(value in stored for value in (VALUE, "another-value"))


def test_use_is_recorded_at_most_once_a_minute(tenant: Any) -> None:
    secret = save(tenant)
    assert secret.last_used_at is None
    values(tenant)
    first = Secret.objects.get(id=secret.id).last_used_at
    values(tenant)
    assert Secret.objects.get(id=secret.id).last_used_at == first
    earlier = timezone.now() - timedelta(seconds=61)
    Secret.objects.filter(id=secret.id).update(last_used_at=earlier)
    values(tenant)
    assert Secret.objects.get(id=secret.id).last_used_at > earlier + timedelta(seconds=30)


def test_users_of_a_secret_are_listed(tenant: Any) -> None:
    publish(tenant, CALL, key="uses-it")
    publish(tenant, CALL, key="used-it")
    publish(
        tenant, {**CALL, "config": {**CALL["config"], "inputMapping": {"url": '{"$secret": "HOOK"}'}}}, key="used-it"
    )
    draft = make_definition(CALL, key="a-draft")
    Definition.objects.create(tenant=tenant, key="a-draft", name="d", draft_text=canonical_text(draft))
    publish(make_tenant(), CALL)
    uses = uses_of(Referred.SECRET, "HOOK", tenant_id=tenant.id)
    assert [(use.name, use.where, use.steps) for use in uses] == [
        ("a-draft", "draft", ("root.steps[0]",)), ("uses-it", "published version 1", ("root.steps[0]",)),
        ("uses-it", "draft", ("root.steps[0]",)),
    ]  # fmt: skip
    assert uses_of(Referred.SECRET, "HOO", tenant_id=tenant.id) == []


# -- API --------------------------------------------------------------------------------------------------------------


class Api:
    def __init__(self, tenant: Any, role: Role = Role.ADMIN) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {make_token(tenant, role)}"})

    def put(self, name: str, body: Any) -> Any:
        return self.client.put(f"/api/v1/secrets/{name}", json.dumps(body), content_type="application/json")

    def get(self, path: str = "") -> Any:
        return self.client.get(f"/api/v1/secrets{path}")


def test_api_accepts_values_and_never_returns_them(tenant: Any) -> None:
    api = Api(tenant)
    responses = [
        api.put("HOOK", {"value": VALUE, "description": "d"}), api.put("HOOK", {"value": f"{VALUE}-2"}),
        api.get(), api.get("/HOOK"),
    ]  # fmt: skip
    assert [response.status_code for response in responses] == [201, 200, 200, 200]
    assert not any(VALUE in response.content.decode() for response in responses)
    (shown,) = responses[2].json()["results"]
    assert shown == responses[3].json()
    assert set(shown) == {"name", "description", "created_by", "created_at", "replaced_at", "last_used_at", "readable"}
    assert (shown["name"], shown["description"], shown["readable"]) == ("HOOK", "d", True)
    assert values(tenant) == {"HOOK": f"{VALUE}-2"}
    assert api.client.delete("/api/v1/secrets/HOOK").status_code == 204
    assert api.client.delete("/api/v1/secrets/HOOK").json()["error"]["code"] == "SECRET_NOT_FOUND"


@pytest.mark.parametrize("body", [{}, {"value": None}, {"value": 12345}, {"value": ["abcdef"]}, {"value": "abc"}, []])
def test_api_refuses_invalid_values(tenant: Any, body: Any) -> None:
    response = Api(tenant).put("HOOK", body)
    assert (response.status_code, response.json()["error"]["code"] in ("VALIDATION_ERROR", "SECRET_VALUE_INVALID")) == (
        400,
        True,
    )


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.AUTHOR])
def test_api_is_only_for_administrators(tenant: Any, role: Role) -> None:
    save(tenant)
    api = Api(tenant, role)
    responses = [
        api.get(),
        api.get("/HOOK"),
        api.put("HOOK", {"value": "another-value"}),
        api.client.delete("/api/v1/secrets/HOOK"),
    ]
    assert [response.status_code for response in responses] == [403] * 4
    assert values(tenant) == {"HOOK": VALUE}


def test_secrets_of_another_tenant_are_not_found(tenant: Any) -> None:
    save(tenant)
    stranger = Api(make_tenant())
    assert stranger.get().json()["results"] == []
    assert stranger.get("/HOOK").status_code == stranger.client.delete("/api/v1/secrets/HOOK").status_code == 404
    assert values(tenant) == {"HOOK": VALUE}


# -- Screens ----------------------------------------------------------------------------------------------------------

LIST, ADD = "admin:workflows_secret_changelist", "admin:workflows_secret_add"


def test_pages_accept_values_and_never_show_them(tenant: Any) -> None:
    admin = member_of(tenant, role="admin")
    added = admin.post(reverse(ADD), {"name": "HOOK", "value": f" {VALUE}\r\n", "description": "d"}, follow=True)
    secret = Secret.objects.get(tenant=tenant)
    page, delete = (reverse(f"admin:workflows_secret_{what}", args=[secret.id]) for what in ("change", "delete"))
    publish(tenant, CALL, key="uses-it")
    assert values(tenant) == {"HOOK": VALUE}
    pages = [added, admin.get(reverse(LIST)), admin.get(reverse(ADD)), admin.get(page), admin.get(delete)]
    pages.append(admin.post(page, {"value": "-----A-----\r\nB\r\n", "description": "e"}, follow=True))
    assert values(tenant) == {"HOOK": "-----A-----\nB\n"}
    # The page of a refused request does not repeat the value.
    pages.append(admin.post(page, {"value": VALUE, "description": "x" * 3000}))
    pages.append(admin.post(reverse(ADD), {"name": "hook", "value": VALUE}))
    pages.append(admin.post(reverse(ADD), {"name": "HOOK", "value": VALUE}))
    assert b"Open that secret to replace its value" in pages[-1].content
    assert b"SECRET_NAME_INVALID" in pages[-2].content
    assert {response.status_code for response in pages} == {200}
    assert not any(
        VALUE in response.content.decode() or "-----A-----" in response.content.decode() for response in pages
    )
    assert b"uses-it" in pages[3].content
    assert b"uses-it" in pages[4].content
    assert admin.post(delete, {"reason": "gone"}).status_code == 302
    assert not Secret.objects.filter(tenant=tenant).exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "author"])
def test_pages_are_only_for_administrators(tenant: Any, role: str) -> None:
    secret = save(tenant)
    client = member_of(tenant, role=role)
    pages = [
        reverse(LIST),
        reverse(ADD),
        *(reverse(f"admin:workflows_secret_{what}", args=[secret.id]) for what in ("change", "delete")),
    ]
    assert [client.get(page).status_code for page in pages] == [403] * 4
    assert [client.post(page, {"name": "HOOK", "value": "another-value"}).status_code for page in pages[1:]] == [
        403
    ] * 3
    assert values(tenant) == {"HOOK": VALUE}
    assert [row[:1] + row[2:] for row in commands(tenant)[1:]] == [
        ("save_secret", "refused", "PERMISSION_DENIED"), ("save_secret", "refused", "PERMISSION_DENIED"),
        ("delete_secret", "refused", "PERMISSION_DENIED"),
    ]  # fmt: skip
    assert reverse(LIST).encode() not in client.get(reverse("admin:index")).content
    assert reverse(LIST).encode() in member_of(tenant, role="admin").get(reverse("admin:index")).content


def test_secret_of_another_tenant_has_no_page(tenant: Any) -> None:
    secret = save(tenant)
    stranger = member_of(make_tenant(), role="admin")
    for what in ("change", "delete"):
        assert stranger.get(reverse(f"admin:workflows_secret_{what}", args=[secret.id])).status_code == 404
    assert b"HOOK" not in stranger.get(reverse(LIST)).content


def test_pages_show_a_missing_key(tenant: Any, settings: Any) -> None:
    secret = save(tenant)
    settings.WORKFLOW_SECRET_KEYS = NEW
    admin = member_of(tenant, role="admin")
    assert b"SECRET_UNREADABLE" in admin.get(reverse("admin:workflows_secret_change", args=[secret.id])).content
    assert b"is missing" in admin.get(reverse(LIST)).content
