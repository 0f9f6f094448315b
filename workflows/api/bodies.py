"""Request bodies of the API. Permission is checked before errors in the body are reported.

Source: docs/reference/authority.md#control-matrix
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from workflows.errors import PortalError


@contextmanager
def role_first(check: Callable[[], object]) -> Iterator[None]:
    """Run a block that reads a request body. If the block fails, check permission before the error is reported.

    `check` is the permission check of the service. It records a denied attempt in the command ledger.

    Errors: the 404 or 403 of `check`; if `check` raises nothing, the error of the block.
    """
    try:
        yield
    except (APIException, PortalError):
        check()
        raise


class KnownFieldsSerializer(Serializer[Any]):
    """Base of request bodies that may have known fields only. A misspelled optional field would have no effect."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = [name for name in data if name not in self.fields][:20] if isinstance(data, dict) else []
        if unknown:
            message = f"This field is unknown. Remove it, or use one of {', '.join(sorted(self.fields))}."
            raise ValidationError({name[:100]: [message] for name in unknown})
        return super().to_internal_value(data)


def read_body(kind: type[Serializer[Any]], request: Request, check: Callable[[], object]) -> dict[str, Any]:
    """Return the validated body. A missing body counts as an empty one.

    Errors: the errors of `check`; ValidationError and ParseError for a wrong body. The API client must act.
    """
    with role_first(check):
        body = kind(data=request.data or {})
        body.is_valid(raise_exception=True)
    return dict(body.validated_data)
