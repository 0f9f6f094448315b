"""Serializers of payload schemas."""

from typing import Any

from rest_framework import serializers

from workflows.engine.json_schema.check import Problem
from workflows.models import PayloadSchema
from workflows.services.schemas import SchemaImpact
from workflows.services.uses import schema_users


class PayloadSchemaFieldsSerializer(serializers.Serializer[Any]):
    """Fields of a payload schema. The service checks the name and the schema, and reports all problems."""

    ref = serializers.CharField(max_length=200)
    title = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    schema = serializers.JSONField(help_text="JSON Schema 2020-12.")
    force = serializers.BooleanField(
        required=False, default=False, help_text="Also store a change that can break users of the schema."
    )


class SchemaCheckSerializer(serializers.Serializer[Any]):
    schema = serializers.JSONField(help_text="New text of the schema.")


class SchemaImpactSerializer(serializers.Serializer[Any]):
    """Changes that can break users of a schema, and the users."""

    needs_force = serializers.BooleanField()
    changes = serializers.SerializerMethodField(help_text="`{pointer, affects, message}`")
    used_by = serializers.SerializerMethodField(help_text="`{kind, name, where, version?, steps?}`")

    def get_changes(self, impact: SchemaImpact) -> list[dict[str, str]]:
        return [change.as_object() for change in impact.changes]

    def get_used_by(self, impact: SchemaImpact) -> list[dict[str, Any]]:
        return [use.as_object() for use in impact.uses]


class PayloadSchemaSerializer(serializers.ModelSerializer[PayloadSchema]):
    class Meta:
        model = PayloadSchema
        fields: tuple[str, ...] = ("ref", "title", "is_placeholder", "created_at", "updated_at")


class PayloadSchemaDetailSerializer(PayloadSchemaSerializer):
    used_by = serializers.SerializerMethodField(
        help_text="Definitions, event types and schemas that use the schema: `{kind, name, where, version?, steps?}`."
    )

    class Meta(PayloadSchemaSerializer.Meta):
        fields = (*PayloadSchemaSerializer.Meta.fields, "schema", "used_by")

    def get_used_by(self, row: PayloadSchema) -> list[dict[str, Any]]:
        return [use.as_object() for use in schema_users(row)]


class SavedPayloadSchemaSerializer(PayloadSchemaSerializer):
    warnings = serializers.SerializerMethodField(
        help_text="References to schemas that do not exist yet: `{pointer, message}`."
    )

    class Meta(PayloadSchemaSerializer.Meta):
        fields = (*PayloadSchemaSerializer.Meta.fields, "schema", "warnings")

    def get_warnings(self, row: PayloadSchema) -> list[Problem]:
        warnings: list[Problem] = self.context["warnings"]
        return warnings
