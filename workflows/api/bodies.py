"""Request bodies. Permission is checked before errors in the body are reported.

Source: docs/reference/authority.md#control-matrix
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from workflows.errors import PortalError


@contextmanager
def role_first(check: Callable[[], object]) -> Iterator[None]:
    """Check permission before an error of the block is reported. The block reads a request body.

    `check` is the service's own check. It records a denied attempt in the command ledger.
    Errors: the 404 or 403 of `check`, before the error of the block.
    """
    try:
        yield
    except (APIException, PortalError):
        check()
        raise


def read_body(kind: type[Serializer[Any]], request: Request, check: Callable[[], object]) -> dict[str, Any]:
    """Return the validated body. A missing body counts as an empty one.

    Errors: those of `check`; ValidationError and ParseError for a wrong body. The API client must act.
    """
    with role_first(check):
        body = kind(data=request.data or {})
        body.is_valid(raise_exception=True)
    return dict(body.validated_data)
