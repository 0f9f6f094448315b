"""Errors of calls to Temporal, and their translation from gRPC statuses.

Modules outside this package use these classes through `gateway`. The message of each error is Temporal's own text.
"""

from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import ResourceExhaustedFailure
from temporalio.service import RPCError, RPCStatusCode


class TemporalError(Exception):
    """Base class of all errors of a call to Temporal."""


class TemporalUnreachable(TemporalError):
    """The call was not delivered. An operator must check Temporal."""


class TemporalBusy(TemporalUnreachable):
    """The workflow accepts no call at present, for example while it continues in a new execution.

    Nothing was done. Only this run is affected; the caller should retry soon.
    """


class TemporalTimeout(TemporalError):
    """The call may or may not have been carried out. The caller must check this before it reports an outcome."""


class ConnectionLost(TemporalTimeout):
    """The connection failed during the call. The call may or may not have been carried out."""


class TemporalNotFound(TemporalError):
    """Temporal does not know the workflow, or the workflow has ended."""


class TemporalRefused(TemporalError):
    """Temporal responded, but refused to carry out the call."""


class TemporalInvalid(TemporalRefused):
    """Temporal can never accept the request, because it is too large or cannot be encoded. A retry does not help."""


class UpdateRejected(TemporalRefused):
    """The workflow's validator rejected an update. `code` and the message come from the validator."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)


class TemporalAlreadyStarted(TemporalRefused):
    """A workflow with this id is running, or has run before."""


# Error texts of a connection that failed during the call. The SDK gives such an error a status as if the server had
# responded.
_CONNECTION_LOST = ("transport error", "h2 protocol error", "connection reset", "broken pipe")


def translated(error: RPCError) -> TemporalError:
    message = error.message
    if error.status == RPCStatusCode.NOT_FOUND and not _is_missing_namespace(error):
        return TemporalNotFound(message)
    if error.status == RPCStatusCode.ALREADY_EXISTS:
        return TemporalAlreadyStarted(message)
    if error.status == RPCStatusCode.UNAVAILABLE and "connect error" in message:
        return TemporalUnreachable(message)
    if any(text in message for text in _CONNECTION_LOST):
        return ConnectionLost(message)
    # CANCELLED means that the SDK's own deadline has passed. After UNAVAILABLE on an open connection, the call may
    # have been carried out.
    if error.status in (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.UNAVAILABLE):
        return TemporalTimeout(message)
    if error.status == RPCStatusCode.RESOURCE_EXHAUSTED:  # either one workflow or the server has reached a limit
        return TemporalBusy(message) if _is_busy_workflow(error) else TemporalUnreachable(message)
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return TemporalInvalid(message)
    return TemporalRefused(f"{error.status.name}: {message}")


def _is_busy_workflow(error: RPCError) -> bool:
    """Return True if only one workflow has reached its limit. Return False if the whole server has."""
    for detail in error.grpc_status.details:
        failure = ResourceExhaustedFailure()
        if detail.Unpack(failure):
            return failure.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
    return False


def _is_missing_namespace(error: RPCError) -> bool:
    """Return True if the namespace does not exist. The configuration is then wrong; the run has not ended."""
    return any(detail.type_url.endswith("NamespaceNotFoundFailure") for detail in error.grpc_status.details)
