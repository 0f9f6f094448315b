"""The story with hostile values in every text field, as a sender, an author or a member could choose them."""

import json
from typing import Any

from django.apps import apps
from django.db import models

from tests.support.story.people import Desk
from tests.support.table_owner import execute_as_owner
from workflows.models.fields import FoldedField, TenantRow

# Markup that sets a property of the window, a character that reverses the text after it, and a long word.
MARKUP = '<script>window.hostile = 1</script><img src=x onerror="window.hostile = 1">\'"&amp;{{ 7|add:7 }}'
REVERSED = "\u202e"
HOSTILE = f"{MARKUP}{REVERSED}{'W' * 200}"
LONG_PAYLOAD = "long word " * 100_000  # about 1 MB
# Text fields whose values the portal itself chooses, or that its services restrict to a few characters.
OWN_FIELDS = {
    "action", "action_id", "actor_id", "actor_type", "branch", "canonical_text", "ciphertext", "code", "cron",
    "current_step_path", "definition_hash", "definition_key", "draft_text", "engine", "error_category", "fingerprint",
    "foreign_id", "hash", "idempotency_key", "iteration", "key_id", "kind", "measure", "owner_key", "parent_step_path",
    "payload_schema_ref", "query", "pinned_payload_schema_ref", "prefix", "projection_epoch", "ref", "request_hash",
    "runbook_url", "sender_id", "sender_role", "sender_type", "severity", "status_then", "step_id", "step_path",
    "step_type",
    "synced_hash", "target_id", "target_type", "task_type", "temporal_first_run_id", "temporal_schedule_id",
    "temporal_workflow_id", "time_zone", "token_hash", "trigger_event_name", "body_hash", "content", "link",
    "code_hash", "issuer", "sign_in_name", "secret_name",
}  # fmt: skip
JSON_PAYLOADS = {
    "workflow_runs": ["input", "output"],
    "workflow_run_steps": ["input", "output"],
    "workflow_runtime_events": ["payload"],
    "workflow_tasks": ["context_data"],
    "workflow_commands": ["details"],
}


def make_hostile(desk: Desk) -> None:
    """Add hostile values to all rows of the tenant."""
    tenant = f"tenant_id = '{desk.tenant.id}'"
    statements = [f"UPDATE tenants SET name = left(name || {_text()}, 200) WHERE id = '{desk.tenant.id}'"]
    for model in apps.get_models():
        names = [field for field in model._meta.concrete_fields if _is_free_text(field)]
        if issubclass(model, TenantRow) and names:
            changes = ", ".join(
                f'"{f.column}" = left("{f.column}" || {_text()}, {f.max_length or 10_000})' for f in names
            )
            statements.append(f"UPDATE {model._meta.db_table} SET {changes} WHERE {tenant}")
    added = _text(json.dumps({MARKUP: HOSTILE, "list": [HOSTILE, None, 1]}))
    for table, columns in JSON_PAYLOADS.items():
        for column in columns:
            changed = f"({column}::jsonb || {added}::jsonb)"
            kept = f"{tenant} AND {column} IS NOT NULL AND jsonb_typeof({column}::jsonb) = 'object'"
            statements.append(f"UPDATE {table} SET {column} = {changed} WHERE {kept}")
    for table in ("workflow_runs", "workflow_run_steps"):
        message = f"jsonb_set(error::jsonb, '{{message}}', to_jsonb((error->>'message') || {_text()}))"
        statements.append(f"UPDATE {table} SET error = {message} WHERE {tenant} AND error IS NOT NULL")
    huge = f"jsonb_build_object('huge', {_text(LONG_PAYLOAD)})"
    for table, column, where in (
        ("workflow_runtime_events", "payload", "event_id LIKE 'mail-8831%'"),
        ("workflow_runs", "input", "correlation_key LIKE 'PAY-105%'"),
    ):
        statements.append(f"UPDATE {table} SET {column} = {column}::jsonb || {huge} WHERE {tenant} AND {where}")
    execute_as_owner(*statements)


def _is_free_text(field: Any) -> bool:
    is_text = isinstance(field, models.CharField | models.TextField) and not isinstance(field, FoldedField)
    return is_text and not field.choices and not field.generated and field.name not in OWN_FIELDS


def _text(value: str = HOSTILE) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
