"""Migration operations that separate tenants in the database (docs/reference/administration.md#tenants-and-roles).

A migration that creates a tenant table needs one line after `CreateModel`:

    EnableTenantPolicy("Invoice")

A migration that adds a foreign key to an existing tenant table needs one line after `AddField`:

    AddTenantForeignKey("Invoice", "run")

Row-level security hides rows from queries. PostgreSQL does not apply it when it checks a foreign key. Each foreign key
between two tenant tables therefore has a second constraint over (tenant_id, key). With this constraint, a row can refer
only to rows of its own tenant.

`workflows/tenancy.py` sends the tenant of the current scope with each statement.
"""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.backends.utils import truncate_name
from django.db.migrations.operations.base import Operation, OperationCategory

TENANT_POLICY, SYSTEM_POLICY = "tenant_isolation", "system_access"
# A setting that was local to a transaction reads as an empty text after this transaction. An empty text is not a UUID.
OF_CURRENT_TENANT = "tenant_id = nullif(current_setting('pointsman.tenant', true), '')::uuid"
_MAX_NAME_LENGTH = 63


class _TenantOperation(Operation):
    """Operation on one tenant table. It changes the database and leaves the migration state of the models unchanged."""

    reversible = True
    reduces_to_sql = True
    category = OperationCategory.ALTERATION

    def __init__(self, model_name: str) -> None:
        self.model_name = model_name

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._apply(schema_editor, model)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._undo(schema_editor, model)

    def _apply(self, schema_editor: Any, model: type[models.Model]) -> None:
        raise NotImplementedError

    def _undo(self, schema_editor: Any, model: type[models.Model]) -> None:
        raise NotImplementedError


class EnableTenantPolicy(_TenantOperation):
    """Enable row-level security for a tenant table, and add the tenant to the foreign keys of the table.

    The application's role sees the rows of the current tenant. The system role sees the rows of all tenants.
    Errors: ValueError if the model has no field `tenant`. The author of the migration must act.
    """

    def _apply(self, schema_editor: Any, model: type[models.Model]) -> None:
        if not _is_tenant_model(model):
            raise ValueError(f"{self.model_name} is not a tenant table: it has no field `tenant`.")
        name = schema_editor.quote_name
        table = name(model._meta.db_table)
        for role, policy, condition in (
            (settings.DATABASE_APP_ROLE, TENANT_POLICY, OF_CURRENT_TENANT),
            (settings.DATABASE_SYSTEM_ROLE, SYSTEM_POLICY, "true"),
        ):
            schema_editor.execute(
                f"CREATE POLICY {policy} ON {table} TO {name(role)} USING ({condition}) WITH CHECK ({condition})",
                params=None,
            )
        schema_editor.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY", params=None)
        for field in _tenant_foreign_keys(model):
            _add_tenant_foreign_key(schema_editor, model, field)

    def _undo(self, schema_editor: Any, model: type[models.Model]) -> None:
        table = schema_editor.quote_name(model._meta.db_table)
        for field in _tenant_foreign_keys(model):
            _drop_tenant_foreign_key(schema_editor, model, field)
        schema_editor.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY", params=None)
        for policy in (TENANT_POLICY, SYSTEM_POLICY):
            schema_editor.execute(f"DROP POLICY {policy} ON {table}", params=None)

    def describe(self) -> str:
        return f"Enable the tenant policy on {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_tenant_policy"


class AddTenantForeignKey(_TenantOperation):
    """Add the tenant to one foreign key.

    Use it if the foreign key was added after `EnableTenantPolicy` for the table.
    """

    def __init__(self, model_name: str, name: str) -> None:
        super().__init__(model_name)
        self.name = name

    def _apply(self, schema_editor: Any, model: type[models.Model]) -> None:
        _add_tenant_foreign_key(schema_editor, model, model._meta.get_field(self.name))

    def _undo(self, schema_editor: Any, model: type[models.Model]) -> None:
        _drop_tenant_foreign_key(schema_editor, model, model._meta.get_field(self.name))

    def describe(self) -> str:
        return f"Add the tenant to the foreign key {self.name} of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_{self.name}_tenant_key"


def _is_tenant_model(model: Any) -> bool:
    return any(field.name == "tenant" for field in model._meta.concrete_fields)


def _tenant_foreign_keys(model: Any) -> list[Any]:
    """Return the fields of the model that refer to a tenant table by a foreign key of the database."""
    fields = [field for field in model._meta.concrete_fields if field.remote_field and field.db_constraint]
    return [field for field in fields if _is_tenant_model(field.remote_field.model)]


def _add_tenant_foreign_key(schema_editor: Any, model: Any, field: Any) -> None:
    name = schema_editor.quote_name
    target = field.remote_field.model._meta
    table, target_table, target_key = name(model._meta.db_table), name(target.db_table), _unique_key(target)
    target_columns = f"tenant_id, {name(target.pk.column)}"
    # A foreign key needs a unique key over the columns that it refers to. All foreign keys to one table share this
    # unique key.
    _execute_if(
        schema_editor,
        f"NOT EXISTS (SELECT FROM pg_constraint WHERE conrelid = '{target_table}'::regclass"
        f" AND conname = '{target_key}')",
        f"ALTER TABLE {target_table} ADD CONSTRAINT {name(target_key)} UNIQUE ({target_columns})",
    )
    schema_editor.execute(
        f"ALTER TABLE {table} ADD CONSTRAINT {name(_foreign_key(model, field))}"
        f" FOREIGN KEY (tenant_id, {name(field.column)}) REFERENCES {target_table} ({target_columns})"
        " DEFERRABLE INITIALLY DEFERRED",
        params=None,
    )


def _drop_tenant_foreign_key(schema_editor: Any, model: Any, field: Any) -> None:
    name = schema_editor.quote_name
    target = field.remote_field.model._meta
    table, target_table, target_key = name(model._meta.db_table), name(target.db_table), _unique_key(target)
    schema_editor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name(_foreign_key(model, field))}", params=None)
    _execute_if(
        schema_editor,
        "NOT EXISTS (SELECT FROM pg_constraint used JOIN pg_constraint key ON key.conindid = used.conindid"
        f" WHERE used.contype = 'f' AND key.conrelid = '{target_table}'::regclass AND key.conname = '{target_key}')",
        f"ALTER TABLE {target_table} DROP CONSTRAINT {name(target_key)}",
    )


def _execute_if(schema_editor: Any, condition: str, statement: str) -> None:
    """Execute a statement if the condition is true in the database.

    The output of `sqlmigrate` has the condition too.
    """
    schema_editor.execute(f"DO $$ BEGIN IF {condition} THEN {statement}; END IF; END $$", params=None)


def _unique_key(target: Any) -> str:
    return truncate_name(f"{target.db_table}_of_tenant", _MAX_NAME_LENGTH)


def _foreign_key(model: Any, field: Any) -> str:
    return truncate_name(f"{model._meta.db_table}_{field.column}_tenant", _MAX_NAME_LENGTH)
