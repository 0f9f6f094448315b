"""REST API and its OpenAPI document."""

from portal.env import env

API_RATE_LIMIT_PER_MINUTE = env.whole(
    "API_RATE_LIMIT_PER_MINUTE",
    0,
    "requests per minute of an API token that has no limit of its own; 0: no limit",
    low=0,
    high=1_000_000,
)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workflows.api.authentication.TokenAuthentication",
        "workflows.api.authentication.TenantSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated", "workflows.api.scopes.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["workflows.api.rate_limit.TokenRateThrottle"],
    "DEFAULT_RENDERER_CLASSES": [
        "workflows.api.renderers.ExactJsonRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["workflows.api.parsers.StrictJsonParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "workflows.api.pagination.RowOrderPagination",
    "DEFAULT_SCHEMA_CLASS": "workflows.api.schema.ScopedSchema",
    "EXCEPTION_HANDLER": "workflows.api.errors.exception_response",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pointsman",
    "DESCRIPTION": "Operations portal for declarative workflows on Temporal.",
    "VERSION": "1",
    "SWAGGER_UI_DIST": "SIDECAR",
    # JavaScript. templates/portal/api_docs.html loads `exactNumbers` from portal/static/portal/exact_numbers.js.
    "SWAGGER_UI_SETTINGS": "{deepLinking: true, presets: [SwaggerUIBundle.presets.apis, exactNumbers]}",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "RunStatus": "workflows.statuses.RunStatus",
        "StepStatus": "workflows.statuses.StepStatus",
        "WaitStatus": "workflows.statuses.WaitStatus",
        "WaitKind": "workflows.statuses.WaitKind",
        "InvocationStatus": "workflows.statuses.InvocationStatus",
        "DeliveryStatus": "workflows.statuses.DeliveryStatus",
        "DeliveryKind": "workflows.statuses.DeliveryKind",
        "CommandSource": "workflows.statuses.CommandSource",
        "EventSource": "workflows.statuses.EventSource",
        "EventOutcome": "workflows.statuses.EventOutcome",
        "OutcomeCode": "workflows.statuses.OutcomeCode",
        "ScheduleKind": "workflows.statuses.ScheduleKind",
        "DefinitionState": "workflows.statuses.DefinitionState",
        "CommandAction": "workflows.statuses.CommandAction",
        "CommandState": "workflows.statuses.CommandState",
        "BulkState": "workflows.statuses.BulkState",
        "BulkItemState": "workflows.statuses.BulkItemState",
        "BulkOutcome": "workflows.statuses.BulkOutcome",
        "IncidentState": "workflows.statuses.IncidentState",
        "SignInKind": "workflows.sign_in_kinds.SignInKind",
        "ReplayVersion": "workflows.statuses.ReplayVersion",
        "BulkAction": ["cancel", "replay", "terminate"],
    },
}
