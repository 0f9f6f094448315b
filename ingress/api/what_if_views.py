"""REST API of decision traces and "what if" checks. These views change nothing."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from ingress.api.serializers import CorrelationWhatIfSerializer, EventSubmissionSerializer
from ingress.api.views import EventDetail
from ingress.explain.trace import event_explained
from ingress.explain.what_if import event_what_if
from ingress.explain.what_if_correlation import correlation_what_if
from workflows.api.query import CheckedView
from workflows.api.scope import actor_of
from workflows.redaction import rules_of
from workflows.statuses import Role


class EventTrace(EventDetail):
    """Return the decision trace of an event to readers who may see the event."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        actor = actor_of(self)
        event = self.get_object()
        rules = rules_of(actor.tenant_id)
        return Response(
            event_explained(tenant_id=actor.tenant_id, event=event, sees_payloads=actor.sees_payloads, rules=rules)
        )


class EventWhatIf(CheckedView):
    """Return a forecast for an event.

    The response contains payload values, so the view requires permission to view payloads.
    """

    @extend_schema(request=EventSubmissionSerializer, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        actor.require(Role.OPERATOR, to="preview an event")
        return Response(event_what_if(actor=actor, value=request.data))


class EventTypesWhatIf(CheckedView):
    """Return the effect that other correlation paths would have on the last events."""

    @extend_schema(request=CorrelationWhatIfSerializer, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request) -> Response:
        actor = actor_of(self)
        actor.require(Role.OPERATOR, to="preview correlation paths")
        body = CorrelationWhatIfSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(correlation_what_if(tenant_id=actor.tenant_id, **body.validated_data))
