"""Signed exports of the command ledger (docs/reference/authority.md#signed-export)."""

import base64
import json
import os
import uuid
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.support.api import Api, error_of
from tests.support.factories import make_actor, make_tenant, make_token
from tests.support.members import member_of
from tests.support.table_owner import execute_as_owner
from workflows.errors import Conflict
from workflows.ledger import command_transaction
from workflows.models import Command, CommandEntry
from workflows.services import ledger_export
from workflows.services.ledger_export_format import public_key_of
from workflows.statuses import CommandAction, Role
from workflows.tenancy import system_scope

SEED, OTHER_SEED = b"k" * 32, b"o" * 32


@pytest.fixture(autouse=True)
def _keys(settings: Any) -> None:
    settings.LEDGER_EXPORT_KEYS = {"2026": SEED}


@pytest.fixture
def admin(tenant: Any) -> Api:
    return Api(make_token(tenant, Role.ADMIN))


def fill(tenant: Any, number: int) -> None:
    for place in range(number):
        with command_transaction(
            actor=make_actor(tenant), action=CommandAction.EDIT_VIEW, target_type="view", target_id=f"v{place}"
        ):
            pass


def run(*words: str) -> str:
    out = StringIO()
    with system_scope():
        call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def exported(tenant: Any, tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    run("export_ledger", "--tenant", tenant.slug, "--output", str(path), "--reason", "audit 2026")
    return path


def body_of(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_export_is_streamed_signed_and_a_row_of_the_ledger(
    tenant: Any, admin: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_export, "PAGE", 2)
    fill(tenant, 3)
    made = admin.post("/commands/exports", {"reason": "audit"}, **{"Idempotency-Key": "k"})
    assert made.status_code == 201
    export = made.json()
    assert admin.post("/commands/exports", {"reason": "audit"}, **{"Idempotency-Key": "k"}).json() == export
    row = Command.objects.get(id=export["id"])
    assert (row.action, row.state, row.reason) == ("export_ledger", "observed", "audit")
    path = tmp_path / "file.jsonl"
    path.write_bytes(body_of(admin.get(f"/commands/exports/{export['id']}")))
    signature = admin.get(f"/commands/exports/{export['id']}/signature").content
    Path(f"{path}.sig").write_bytes(signature)
    lines = path.read_text().splitlines()
    assert json.loads(lines[0]) == export["manifest"]
    links = list(CommandEntry.objects.filter(tenant=tenant).order_by("seq").values_list("seq", "hash", "content"))
    shown = [(line["seq"], line["hash"], line["content"]) for line in map(json.loads, lines[1:])]
    assert shown == links[: len(shown)]
    assert len(shown) == export["manifest"]["links"] == 7  # the request of each command, its outcome, and this export
    key = public_key_of(SEED)
    assert f"valid: 7 links, 1 to 7, last hash {links[6][1]}" in run(
        "verify_audit", "--export", str(path), "--public-key", key
    )


def _changed(lines: list[str]) -> list[str]:
    return [*lines[:3], lines[3].replace("v1", "v9"), *lines[4:]]


def _added(lines: list[str]) -> list[str]:
    """Add a member that a reader of the file sees, and that the hash does not cover."""
    return [*lines[:3], lines[3].replace('{"seq":3', '{"content":"other","seq":3'), *lines[4:]]


def _manifest_changed(lines: list[str]) -> list[str]:
    return [lines[0].replace('"exportedBy":"', '"exportedBy":"x'), *lines[1:]]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_changed, "line 4: link 3 was changed"),
        (_added, "line 4: text that no hash covers was added to link 3"),
        (lambda lines: [*lines[:3], *lines[4:]], "line 4: link 3 is missing"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "line 3: link 2 is missing"),
        (lambda lines: lines[:-1], "lines are missing"),
        (lambda lines: [*lines[:-1], lines[-1][:20]], "is not JSON; the file was changed or is cut off"),
        (_manifest_changed, "the signature does not belong to line 1"),
        (lambda lines: [], "the signature does not belong to line 1"),
    ],
)
def test_changed_file_is_refused(
    tenant: Any, tmp_path: Path, change: Callable[[list[str]], list[str]], problem: str
) -> None:
    fill(tenant, 3)
    path = exported(tenant, tmp_path)
    path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
    with pytest.raises(CommandError, match=f"the export is NOT valid: .*{problem}"):
        run("verify_audit", "--export", str(path))


def test_other_key_and_missing_files_are_refused(tenant: Any, tmp_path: Path, settings: Any) -> None:
    fill(tenant, 1)
    path = exported(tenant, tmp_path)
    assert "valid" in run("verify_audit", "--export", str(path))
    with pytest.raises(CommandError, match="was signed with another key"):
        run("verify_audit", "--export", str(path), "--public-key", public_key_of(OTHER_SEED))
    forged = json.loads(Path(f"{path}.sig").read_text())
    forged["signature"] = base64.b64encode(os.urandom(64)).decode()
    Path(f"{path}.sig").write_text(json.dumps(forged))
    with pytest.raises(CommandError, match="the signature does not belong"):
        run("verify_audit", "--export", str(path))
    os.remove(f"{path}.sig")
    with pytest.raises(CommandError, match="a file cannot be read"):
        run("verify_audit", "--export", str(path))
    settings.LEDGER_EXPORT_KEYS = {}
    with pytest.raises(CommandError, match="--public-key"):
        run("verify_audit", "--export", str(path))


def test_period_selects_a_part_of_the_chain(tenant: Any, admin: Api, tmp_path: Path) -> None:
    fill(tenant, 2)
    middle = timezone.now()
    fill(tenant, 1)
    late = admin.post("/commands/exports", {"since": middle.isoformat()}).json()
    early = admin.post("/commands/exports", {"until": middle.isoformat()}).json()
    assert (early["manifest"]["firstSequence"], early["manifest"]["lastSequence"]) == (1, 4)
    assert late["manifest"]["firstSequence"] == 5
    assert late["manifest"]["previousHash"] == early["manifest"]["lastHash"]
    path = tmp_path / "late"
    path.write_bytes(body_of(admin.get(f"/commands/exports/{late['id']}")))
    Path(f"{path}.sig").write_bytes(admin.get(f"/commands/exports/{late['id']}/signature").content)
    assert "valid" in run("verify_audit", "--export", str(path))
    tomorrow = (timezone.now() + timedelta(days=1)).isoformat()
    assert error_of(admin.post("/commands/exports", {"since": tomorrow}), 400)["code"] == "LEDGER_PERIOD_EMPTY"


def test_export_of_a_chain_with_a_gap_is_refused(tenant: Any, admin: Api) -> None:
    fill(tenant, 3)
    middle = timezone.now()
    fill(tenant, 1)
    execute_as_owner(f"DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant.id}' AND seq IN (5, 6)")
    refused = error_of(admin.post("/commands/exports", {"since": middle.isoformat()}), 409)
    assert (refused["code"], "verify_audit" in refused["message"]) == ("LEDGER_LINK_MISSING", True)


def test_export_whose_links_were_deleted_is_refused(tenant: Any, admin: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_export, "PAGE", 2)
    fill(tenant, 3)
    address = f"/commands/exports/{admin.post('/commands/exports', {}).json()['id']}"
    begun = admin.get(address).streaming_content
    assert b"firstSequence" in next(iter(begun))
    execute_as_owner(f"DELETE FROM workflow_command_entries WHERE tenant_id = '{tenant.id}' AND seq <= 5")
    with pytest.raises(Conflict, match="retention has deleted links"):
        b"".join(begun)  # the download breaks off instead of ending early
    assert error_of(admin.get(address), 409)["code"] == "LEDGER_EXPORT_DELETED"


def test_only_administrators_with_a_key_export(tenant: Any, admin: Api, settings: Any) -> None:
    fill(tenant, 1)
    export = admin.post("/commands/exports").json()
    author, stranger = Api(make_token(tenant, Role.AUTHOR)), Api(make_token(make_tenant(), Role.ADMIN))
    for path in (f"/commands/exports/{export['id']}", f"/commands/exports/{export['id']}/signature"):
        assert error_of(author.get(path), 403)["code"] == "PERMISSION_DENIED"
        assert error_of(stranger.get(path), 404)["code"] == "LEDGER_EXPORT_NOT_FOUND"
    assert error_of(author.post("/commands/exports"), 403)["code"] == "PERMISSION_DENIED"
    settings.LEDGER_EXPORT_KEYS = {}
    assert error_of(admin.post("/commands/exports"), 503)["code"] == "LEDGER_KEY_MISSING"


def test_page_makes_an_export_and_links_its_files(tenant: Any) -> None:
    client = member_of(tenant, role="admin")
    fill(tenant, 1)
    page = "/admin/workflows/command/export/"
    form = {"first_day": "2020-01-01", "last_day": "", "reason": "audit", "idempotency_key": str(uuid.uuid4())}
    client.post(page, form)
    shown = client.post(page, form).content.decode()  # a second click
    (export,) = Command.objects.filter(tenant=tenant, action="export_ledger")
    assert f"/api/v1/commands/exports/{export.id}/signature" in shown
    assert body_of(client.get(f"/api/v1/commands/exports/{export.id}")).count(b"\n") == 4
    whole = {**form, "first_day": "0001-01-01", "last_day": "9999-12-31", "idempotency_key": str(uuid.uuid4())}
    assert client.post(page, whole).status_code == 200
    assert Command.objects.filter(tenant=tenant, action="export_ledger", state="observed").count() == 2
    wrong = client.post(page, {**form, "first_day": "2999-01-01", "idempotency_key": str(uuid.uuid4())})
    assert "LEDGER_PERIOD_EMPTY" in wrong.content.decode()
    assert member_of(tenant, role="author").get(page).status_code == 403
