"""REST API of the catalogue of actions and of HTTP connectors (docs/reference/engine.md#actions)."""

from contextlib import suppress
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from workflows.actors import Actor
from workflows.api.bodies import read_body, role_first
from workflows.api.query import CheckedView
from workflows.api.scope import TenantScoped, actor_of
from workflows.api.views import IDEMPOTENCY_HEADER
from workflows.models import Connector
from workflows.services.action_catalogue import CatalogueEntry, action_catalogue, catalogue_entry
from workflows.services.connector_trial import connector_try, require_trial_role
from workflows.services.connectors import (
    SavedConnector,
    connector_delete,
    connector_find,
    connector_save,
    require_connector_role,
)
from workflows.services.idempotency import CommandRepeated
from workflows.services.references import Referred
from workflows.services.uses import connector_uses, uses_of


class ActionSerializer(serializers.Serializer[Any]):
    id = serializers.CharField()
    version = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # the base class has an attribute of this name
    category = serializers.CharField()
    origin = serializers.CharField(help_text="`built-in`, `pure`, `connector`, or the app that registers the action.")
    description = serializers.CharField()
    has_side_effects = serializers.BooleanField()
    takes_secrets = serializers.BooleanField()


class ActionDetailSerializer(ActionSerializer):
    input_schema = serializers.JSONField()
    output_schema = serializers.JSONField()
    examples = serializers.JSONField(help_text="Inputs that match the input schema.")
    repetition = serializers.CharField(help_text="What happens after an execution whose outcome was lost.")
    idempotency = serializers.CharField(help_text="Which idempotency key an execution uses.")
    timeout_seconds = serializers.FloatField(allow_null=True)
    retry_hint = serializers.JSONField(help_text="Retry policy that a step can use.")
    secret_names = serializers.ListField(child=serializers.CharField())
    used_by = serializers.SerializerMethodField(
        help_text="Definitions that call the action: `{kind, name, where, version?, steps?}`."
    )

    def get_used_by(self, entry: CatalogueEntry) -> list[dict[str, Any]]:
        tenant_id = self.context["tenant_id"]
        uses = uses_of(Referred.ACTION, entry.id, tenant_id=tenant_id, version=entry.version)
        return [use.as_object() for use in uses]


class ActionList(CheckedView):
    """Return all actions that the definitions of the tenant can call, without their schemas."""

    @extend_schema(responses=ActionSerializer(many=True))
    def get(self, request: Request) -> Response:
        entries = action_catalogue(actor_of(self).tenant_id)
        return Response({"results": ActionSerializer(entries, many=True).data})


class ActionDetail(CheckedView):
    """Return one action: schemas, examples, retry and idempotency behaviour, and the definitions that use it."""

    @extend_schema(responses=ActionDetailSerializer)
    def get(self, request: Request, action_id: str, version: int) -> Response:
        tenant_id = actor_of(self).tenant_id
        entry = catalogue_entry(tenant_id=tenant_id, action_id=action_id, version=version)
        return Response(ActionDetailSerializer(entry, context={"tenant_id": tenant_id}).data)


class ConnectorFieldsSerializer(serializers.Serializer[Any]):
    """Fields of a connector. The service checks them and reports all problems."""

    action_id = serializers.CharField(max_length=200)
    version = serializers.IntegerField(required=False, min_value=1, help_text="Absent: the next version.")
    spec = serializers.JSONField(help_text="Request, response, and rules for success and retries.")


class ConnectorSerializer(serializers.ModelSerializer[Connector]):
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = Connector
        fields: tuple[str, ...] = ("action_id", "version", "label", "created_by", "created_at", "updated_at")


class ConnectorDetailSerializer(ConnectorSerializer):
    used_by = serializers.SerializerMethodField(
        help_text="Published definition versions that call the connector. While there is one, it cannot be changed."
    )

    class Meta(ConnectorSerializer.Meta):
        fields = (*ConnectorSerializer.Meta.fields, "spec", "used_by")

    def get_used_by(self, row: Connector) -> list[dict[str, Any]]:
        return [use.as_object() for use in connector_uses(row)]


class ConnectorList(TenantScoped, generics.ListAPIView):
    """Return the HTTP connectors of the tenant, by action id and version."""

    model = Connector
    row_order = ("action_id", "version")
    serializer_class = ConnectorSerializer

    @extend_schema(
        request=ConnectorFieldsSerializer,
        responses={200: ConnectorDetailSerializer, 201: ConnectorDetailSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def post(self, request: Request) -> Response:
        """Save a connector. Without `version`, make its next version."""
        actor = actor_of(self)
        body = read_body(ConnectorFieldsSerializer, request, lambda: require_connector_role(actor=actor))
        return _saved(request, actor, body)


class ConnectorDetail(CheckedView):
    """Return one version of a connector and its users."""

    @extend_schema(responses=ConnectorDetailSerializer)
    def get(self, request: Request, action_id: str, version: int) -> Response:
        row = connector_find(tenant_id=actor_of(self).tenant_id, action_id=action_id, version=version)
        return Response(ConnectorDetailSerializer(row).data)

    @extend_schema(
        request=ConnectorFieldsSerializer,
        responses={200: ConnectorDetailSerializer, 201: ConnectorDetailSerializer},
        parameters=[IDEMPOTENCY_HEADER],
    )
    def put(self, request: Request, action_id: str, version: int) -> Response:
        """Create this version of a connector, or change it if no published definition version calls it."""
        actor = actor_of(self)
        with role_first(lambda: require_connector_role(actor=actor, action_id=action_id)):
            sent = request.data if isinstance(request.data, dict) else {}
            for name, value in (("action_id", action_id), ("version", version)):
                if sent.get(name, value) != value:
                    raise serializers.ValidationError(
                        {name: [f"Must be {value!r}, as in the URL. Or leave the field out."]}
                    )
            body = ConnectorFieldsSerializer(data={**sent, "action_id": action_id, "version": version})
            body.is_valid(raise_exception=True)
        return _saved(request, actor, dict(body.validated_data))

    @extend_schema(responses={204: None}, parameters=[IDEMPOTENCY_HEADER])
    def delete(self, request: Request, action_id: str, version: int) -> Response:
        """Delete a version of a connector that no published definition version calls."""
        key = request.headers.get("Idempotency-Key", "")
        with suppress(CommandRepeated):
            connector_delete(actor=actor_of(self), action_id=action_id, version=version, idempotency_key=key)
        return Response(status=204)


class TrialSerializer(serializers.Serializer[Any]):
    input = serializers.JSONField(help_text="Input of the action.")


class TrialResultSerializer(serializers.Serializer[Any]):
    """Result of a test call. No field contains the value of a secret."""

    succeeded = serializers.SerializerMethodField()
    request = serializers.JSONField(help_text="`{method, url, query, headers, body}`; null if it could not be built.")
    output = serializers.JSONField()
    error = serializers.JSONField(help_text="`{category, message, code?, details?}`, or null.")

    def get_succeeded(self, trial: Any) -> bool:
        return trial.error is None


class ConnectorTest(CheckedView):
    """Send the request of a connector once, without a run. The other system receives a real request."""

    @extend_schema(request=TrialSerializer, responses=TrialResultSerializer, parameters=[IDEMPOTENCY_HEADER])
    def post(self, request: Request, action_id: str, version: int) -> Response:
        actor = actor_of(self)
        body = read_body(
            TrialSerializer,
            request,
            lambda: require_trial_role(actor=actor, action_id=action_id, version=version),
        )
        key = request.headers.get("Idempotency-Key", "")
        trial = connector_try(
            actor=actor, action_id=action_id, version=version, value=body["input"], idempotency_key=key
        )
        return Response(TrialResultSerializer(trial).data)


def _saved(request: Request, actor: Actor, fields: dict[str, Any]) -> Response:
    """Save a connector. If the request is a repeat, nothing is changed, and the response is the present state."""
    try:
        saved = connector_save(actor=actor, **fields, idempotency_key=request.headers.get("Idempotency-Key", ""))
    except CommandRepeated as repeated:
        done = repeated.command.details or {}
        row = connector_find(tenant_id=actor.tenant_id, action_id=fields["action_id"], version=done["version"])
        saved = SavedConnector(row, is_new=done["created"])
    return Response(ConnectorDetailSerializer(saved.row).data, status=201 if saved.is_new else 200)
