"""Events, deliveries, bulk jobs and the Redis stream."""

from ingress.intake.correlation_config import parse_correlation_paths
from portal.env import ConfigError, env, matching

EVENT_CORRELATION_PATHS: dict[str, tuple[str, ...]] = env.parsed(
    "WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON",
    "",
    parse_correlation_paths,
    'JSON `{"EVENT": "path" or ["path"], "*": [...]}`: where an event\'s correlation key stands in its payload',
)
EVENT_BUFFER_SECONDS = env.number(
    "EVENT_BUFFER_SECONDS", 60, "how long before a wait opens an event for it may arrive, unless its type says otherwise",
    low=0.001, high=86_400,
)  # fmt: skip

EVENT_BATCH_MAX = env.whole("EVENT_BATCH_MAX", 1000, "events in one batch", low=1, high=10_000)
EVENT_BATCH_MAX_BYTES = env.whole(
    "EVENT_BATCH_MAX_BYTES", 16_777_216, "largest body of a batch of events; a single event has REQUEST_MAX_BYTES",
    low=1024, high=268_435_456,
)  # fmt: skip
DELIVERY_MAX_ATTEMPTS = env.whole(
    "DELIVERY_MAX_ATTEMPTS", 12, "attempts of one delivery before it is dead", low=1, high=1000
)
DELIVERY_BACKOFF_SECONDS = env.number(
    "DELIVERY_BACKOFF_SECONDS", 2, "wait after the first failed delivery; doubles, up to 5 minutes", low=0.1, high=300
)
DELIVERY_TENANT_LIMIT = env.whole(
    "DELIVERY_TENANT_LIMIT", 40, "deliveries of one tenant under way at once, unless the tenant's own limit says otherwise",
    low=1, high=10_000,
)  # fmt: skip
BULK_MAX_RUNS = env.whole("BULK_MAX_RUNS", 100_000, "runs that one bulk job may name", low=1, high=1_000_000)
BULK_RATE_PER_SECOND = env.number(
    "BULK_RATE_PER_SECOND", 20, "requests to Temporal per second of a bulk job that names no rate", low=0.1, high=1000
)
STREAM_NAME = matching(r"\S{1,100}", "a name of 1 to 100 characters without blanks")
EVENT_STREAM: str = env.parsed(
    "EVENT_STREAM", "pointsman:events", STREAM_NAME, "Redis stream that `manage.py consume_events` takes events from"
)
EVENT_STREAM_GROUP: str = env.parsed(
    "EVENT_STREAM_GROUP", "pointsman", STREAM_NAME, "consumer group of the portal on that stream"
)
EVENT_STREAM_DEAD: str = env.parsed(
    "EVENT_STREAM_DEAD", "pointsman:events:dead", STREAM_NAME, "stream of the entries that can never be events, with the reason"
)  # fmt: skip
if EVENT_STREAM_DEAD == EVENT_STREAM:
    raise ConfigError("EVENT_STREAM_DEAD", "is the same as EVENT_STREAM; what is refused would be read again for ever")
EVENT_STREAM_BATCH = env.whole("EVENT_STREAM_BATCH", 100, "entries that are read and stored at once", low=1, high=1000)
EVENT_STREAM_CLAIM_SECONDS = env.number(
    "EVENT_STREAM_CLAIM_SECONDS", 60, "how long an entry may be with one consumer before another takes it", low=1, high=86_400
)  # fmt: skip
EVENT_STREAM_MAX_DELIVERIES = env.whole(
    "EVENT_STREAM_MAX_DELIVERIES", 5, "deliveries of an entry that fails before it is a dead letter", low=1, high=1000
)
EVENT_STREAM_KEEP_SECONDS = env.number(
    "EVENT_STREAM_KEEP_SECONDS", 604_800, "age at which entries that every group has acknowledged are trimmed; 0: never",
    low=0, high=31_536_000,
)  # fmt: skip
