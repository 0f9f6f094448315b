"""Translation of RPC errors into the errors of the gateway."""

import pytest
from google.protobuf.any_pb2 import Any as Packed
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, ResourceExhaustedFailure
from temporalio.service import RPCError, RPCStatusCode

from workflows.temporal import gateway, rpc_errors

BUSY = ResourceExhaustedFailure(cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW)
TOO_MANY = ResourceExhaustedFailure(cause=ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_RPS_LIMIT)


@pytest.mark.parametrize(
    ("status", "words", "detail", "error"),
    [
        ("NOT_FOUND", "workflow not found", None, gateway.TemporalNotFound),
        ("NOT_FOUND", "no such namespace", NamespaceNotFoundFailure(namespace="x"), gateway.TemporalRefused),
        ("UNAVAILABLE", "tcp connect error", None, gateway.TemporalUnreachable),
        ("UNAVAILABLE", "shard is not ready", None, gateway.TemporalTimeout),
        ("CANCELLED", "Timeout expired", None, gateway.TemporalTimeout),
        ("UNKNOWN", "transport error", None, rpc_errors.ConnectionLost),
        ("INTERNAL", "h2 protocol error: http2 error", None, rpc_errors.ConnectionLost),
        ("INTERNAL", "internal server error", None, gateway.TemporalRefused),
        ("RESOURCE_EXHAUSTED", "workflow is closing", BUSY, gateway.TemporalBusy),
        ("RESOURCE_EXHAUSTED", "namespace rate limit exceeded", TOO_MANY, gateway.TemporalUnreachable),
        ("INVALID_ARGUMENT", "blob is too large", None, gateway.TemporalInvalid),
        ("ALREADY_EXISTS", "already started", None, gateway.TemporalAlreadyStarted),
    ],
)  # fmt: skip
def test_rpc_error_is_translated(status: str, words: str, detail: object, error: type[Exception]) -> None:
    code, packed = RPCStatusCode[status], Packed()
    if detail is not None:
        packed.Pack(detail)  # type: ignore[arg-type]
    raw = GrpcStatus(code=code.value, message=words, details=[packed] if detail is not None else [])
    translated = rpc_errors.translated(RPCError(words, code, raw.SerializeToString()))
    assert (type(translated), words in str(translated)) == (error, True)
