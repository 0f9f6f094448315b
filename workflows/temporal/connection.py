"""Connection to Temporal: the client of this process, and the thread in which the client runs.

The client is connected on first use, and again after a fork. Each call has a timeout and is sent once; a call that may
be repeated is sent again if the connection was lost. With the SDK's own retries, a request would take ten seconds
longer while Temporal is down. The callers of this module retry the call themselves (a delivery) or report the error to
a person (a cancel).
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from temporalio.api.common.v1 import Payloads
from temporalio.client import Client
from temporalio.service import RPCError, TLSConfig

from workflows.temporal.converter import DATA_CONVERTER
from workflows.temporal.rpc_errors import (
    ConnectionLost,
    TemporalInvalid,
    TemporalTimeout,
    TemporalUnreachable,
    translated,
)

Result = TypeVar("Result")
IDENTITY = "pointsman-portal"


def temporal_tls() -> TLSConfig | bool:
    """Return the TLS settings of every client and worker of this portal."""
    files = (settings.TEMPORAL_TLS_CA, settings.TEMPORAL_TLS_CERT, settings.TEMPORAL_TLS_KEY)
    if any(files):
        ca, cert, key = (path.read_bytes() if path else None for path in files)
        return TLSConfig(server_root_ca_cert=ca, client_cert=cert, client_private_key=key)
    return bool(settings.TEMPORAL_TLS or settings.TEMPORAL_API_KEY)


async def connect_client() -> Client:
    return await Client.connect(
        settings.TEMPORAL_ADDRESS,
        namespace=settings.TEMPORAL_NAMESPACE,
        data_converter=DATA_CONVERTER,
        tls=temporal_tls(),
        api_key=settings.TEMPORAL_API_KEY or None,
        identity=f"{IDENTITY}@{os.getpid()}",
    )


class _Connection:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None
        self._address: tuple[str, str] | None = None

    def call(self, work: Callable[[Client], Awaitable[Result]]) -> Result:
        """Run `work` with the client and return the result of `work`. This method can be called from any thread.

        Errors: a TemporalError for every RPC error.
        """
        loop = self._running_loop()
        limit = settings.TEMPORAL_RPC_TIMEOUT_SECONDS
        future = asyncio.run_coroutine_threadsafe(self._work(work), loop)
        try:
            return future.result(timeout=2 * limit + 1)
        except TimeoutError as error:
            future.cancel()
            raise TemporalTimeout(f"no response within {2 * limit + 1:g} s") from error

    def call_repeatable(self, work: Callable[[Client], Awaitable[Result]]) -> Result:
        """Run `work` as `call` does, and once more if the connection was lost.

        A repetition of `work` must have no second effect: it reads, or Temporal refuses or ignores the second request.
        """
        try:
            return self.call(work)
        except ConnectionLost:
            return self.call(work)

    async def _work(self, work: Callable[[Client], Awaitable[Result]]) -> Result:
        try:
            return await work(await self._connected())
        except RPCError as error:
            raise translated(error) from error

    async def _connected(self) -> Client:
        address = (settings.TEMPORAL_ADDRESS, settings.TEMPORAL_NAMESPACE)
        if self._client is None or self._address != address:
            try:
                self._client = await asyncio.wait_for(connect_client(), settings.TEMPORAL_RPC_TIMEOUT_SECONDS)
            except (RuntimeError, TimeoutError) as error:
                no_connection = f"no connection within {settings.TEMPORAL_RPC_TIMEOUT_SECONDS:g} s"
                raise TemporalUnreachable(str(error) or no_connection) from error
            self._address = address
        return self._client

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop, self._client, self._pid = asyncio.new_event_loop(), None, os.getpid()
                threading.Thread(target=self._loop.run_forever, name="temporal-gateway", daemon=True).start()
            return self._loop


async def encoded(client: Client, value: Any) -> Payloads:
    """Encode a value for a request. Errors: TemporalInvalid."""
    try:
        return Payloads(payloads=await client.data_converter.encode([value]))
    except (TypeError, ValueError) as error:
        raise TemporalInvalid(f"the value cannot be encoded: {error}") from error


def timeout() -> timedelta:
    return timedelta(seconds=settings.TEMPORAL_RPC_TIMEOUT_SECONDS)


_connection = _Connection()
call = _connection.call
call_repeatable = _connection.call_repeatable
