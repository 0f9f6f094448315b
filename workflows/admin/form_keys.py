"""Idempotency keys of forms: two clicks on a button have one effect (docs/reference/screens.md#all-screens).

Each form that changes something has a hidden field with a new key (template tag `form_key`). The service stores the key
in the command ledger. A second request with the same key gets the outcome of the first request.

A second hidden field has the tenant of the page. A person of several tenants can choose another one in another tab. The
form of the first tab would then change the wrong tenant.
"""

import re
import time
from collections.abc import Callable
from typing import TypeVar

from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest

from workflows.admin.base import actor_of
from workflows.errors import Conflict
from workflows.services.idempotency import CommandRepeated, command_was_done

FIELD, TENANT_FIELD = "idempotency_key", "form_tenant"
WAIT_SECONDS = 10.0
POLL_SECONDS = 0.1
_Result = TypeVar("_Result")


def key_of(request: HttpRequest) -> str:
    """Return the idempotency key of the submitted form. Return an empty text if the form has no key.

    Errors: SuspiciousOperation (status 400) for a key that the portal did not create; PermissionDenied for a form that
    was loaded in another tenant.
    """
    of_page = request.POST.get(TENANT_FIELD, "")
    if of_page and of_page != str(actor_of(request).tenant_id):
        raise PermissionDenied(
            "This form was loaded in another tenant than the one that you have chosen now. Nothing was changed. Choose"
            " the first tenant again and repeat the change, or load the form again"
        )
    return form_key_of(request)


def form_key_of(request: HttpRequest) -> str:
    """Return `key_of` without the check of the tenant, for a form that belongs to no tenant.

    Errors: SuspiciousOperation (status 400) for a key that the portal did not create.
    """
    key = request.POST.get(FIELD, "")
    if not key:
        return ""
    if not re.fullmatch(r"[0-9a-f-]{32,36}", key):
        raise SuspiciousOperation("The key of the form is invalid. Load the page again.")
    return f"form:{key}"


def once(call: Callable[[], _Result]) -> _Result | None:
    """Call a service with the key of a form.

    Return None if an earlier click on the same form has already carried out the request.

    If the request of the earlier click has no outcome yet, wait for its outcome. So the page after the second click
    shows the result of the first click.

    Errors: the errors of the service; Conflict if the form was sent before with other values.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return call()
        except CommandRepeated:
            return None
        except Conflict as error:
            if error.code == "IDEMPOTENCY_KEY_REUSED":
                raise Conflict(
                    "This form was already sent with other values. Look at the result, then send the form again if the "
                    "new values must be applied too.",
                    code=error.code,
                    details=error.details,
                ) from error
            if error.code != "IDEMPOTENCY_IN_FLIGHT" or time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def was_done(request: HttpRequest) -> bool:
    """Return True if an earlier click on the same form has carried out the request."""
    key, actor = key_of(request), actor_of(request)
    return bool(key) and command_was_done(actor=actor, idempotency_key=key)
