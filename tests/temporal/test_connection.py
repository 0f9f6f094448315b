"""Calls to Temporal on a connection that is lost during the call."""

import pytest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.temporal import connection
from workflows.temporal.rpc_errors import ConnectionLost


class LostOnce:
    """A call that loses its connection at the first attempt. The second attempt reaches the server."""

    def __init__(self) -> None:
        self.attempts = 0

    async def __call__(self, client: Client) -> str:
        self.attempts += 1
        if self.attempts == 1:
            raise RPCError("h2 protocol error: http2 error", RPCStatusCode.INTERNAL, b"")
        return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version


def test_read_is_sent_again_after_a_lost_connection_and_a_change_is_not(servers: object) -> None:
    read, change = LostOnce(), LostOnce()
    assert connection.call_repeatable(read)
    with pytest.raises(ConnectionLost):
        connection.call(change)
    assert (read.attempts, change.attempts) == (2, 1)
