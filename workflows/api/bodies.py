"""Bodies of requests, read so that who asks comes before what is asked (docs/reference/authority.md#control-matrix)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from workflows.errors import PortalError


@contextmanager
def role_first(check: Callable[[], object]) -> Iterator[None]:
    """What is wrong with a body that is read in this block is told to those only who may ask at all.

    `check` is the service's own, and records a denied attempt. Errors: its 404 and 403 before those of the block.
    """
    try:
        yield
    except (APIException, PortalError):
        check()
        raise


def read_body(kind: type[Serializer[Any]], request: Request, check: Callable[[], object]) -> dict[str, Any]:
    """The body as `kind` takes it; none is an empty one. Errors: as `role_first`, ValidationError, ParseError."""
    with role_first(check):
        body = kind(data=request.data or {})
        body.is_valid(raise_exception=True)
    return dict(body.validated_data)
