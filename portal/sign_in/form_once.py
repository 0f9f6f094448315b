"""Forms of accounts: two clicks have one effect, as for the other forms (`workflows/admin/form_keys.py`).

An account belongs to no tenant, so the command ledger cannot keep the keys of its forms. The cache keeps each key with
the address to which the first click has led.
"""

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.cache import cache
from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from redis.exceptions import RedisError

from workflows.admin.form_keys import POLL_SECONDS, WAIT_SECONDS, form_key_of

logger = logging.getLogger(__name__)
KEPT_SECONDS = 600
NO_RESULT_YET = ""
View = Callable[..., HttpResponseBase]


def once_per_form(view: View) -> View:
    """Return the view so that a second click on a form leads to the page of the first click and changes nothing.

    A response that is no redirect shows the form again with its errors, so the same form can be sent again. While Redis
    does not respond, each click is carried out.
    """

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        key = form_key_of(request) if request.method == "POST" else ""
        address = _address_of_first_click(key) if key else None
        if address is not None:
            return HttpResponseRedirect(address)
        led_to = None
        try:
            response = view(request, *args, **options)
            led_to = response.url if isinstance(response, HttpResponseRedirect) else None
            return response
        finally:
            if key:
                _keep(key, led_to)

    return wrapped


def _address_of_first_click(key: str) -> str | None:
    """Return where the first click on a form has led, or None if this is the first click that can have an effect.

    Errors: SuspiciousOperation (status 400) if the first click has no result in time.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    try:
        while not cache.add(key, NO_RESULT_YET, KEPT_SECONDS):
            found = cache.get(key)
            if found:
                return str(found)
            if time.monotonic() > deadline:
                raise SuspiciousOperation("The first click on this form has no result yet. Load the page again.")
            time.sleep(POLL_SECONDS)
    except RedisError as error:
        logger.error("Redis does not respond, so a second click on a form of an account is not recognised: %s", error)
    return None


def _keep(key: str, address: str | None) -> None:
    """Keep the address for a second click. Without an address, the form can be sent again."""
    try:
        if address is None:
            cache.delete(key)
        else:
            cache.set(key, address, KEPT_SECONDS)
    except RedisError as error:
        logger.error("Redis does not respond, so the key of a form of an account is not kept: %s", error)
