"""Limits of events, deliveries and bulk jobs, and the Redis stream."""

from ingress.intake.correlation_config import parse_correlation_paths
from portal.env import ConfigError, env, matching

EVENT_CORRELATION_PATHS: dict[str, tuple[str, ...]] = env.parsed(
    "WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON",
    "",
    parse_correlation_paths,
    'JSON `{"EVENT": "path" or ["path"], "*": [...]}`: paths of the correlation key in the payload, per event type',
)
EVENT_BUFFER_SECONDS = env.number(
    "EVENT_BUFFER_SECONDS",
    60,
    "buffer time in seconds: a wait that opens finds events up to this age; an event type can have another value",
    low=0.001,
    high=86_400,
)

EVENT_BATCH_MAX = env.whole("EVENT_BATCH_MAX", 1000, "largest number of events in one batch", low=1, high=10_000)
EVENT_BATCH_MAX_BYTES = env.whole(
    "EVENT_BATCH_MAX_BYTES",
    16_777_216,
    "largest body of a batch of events in bytes; `REQUEST_MAX_BYTES` limits a single event",
    low=1024,
    high=268_435_456,
)
DELIVERY_MAX_ATTEMPTS = env.whole(
    "DELIVERY_MAX_ATTEMPTS", 12, "attempts of one delivery before it becomes a dead letter", low=1, high=1000
)
DELIVERY_BACKOFF_SECONDS = env.number(
    "DELIVERY_BACKOFF_SECONDS",
    2,
    "seconds between the first and the second attempt of a delivery; doubles up to 5 minutes",
    low=0.1,
    high=300,
)
DELIVERY_TENANT_LIMIT = env.whole(
    "DELIVERY_TENANT_LIMIT",
    40,
    "deliveries of one tenant that run at the same time; a tenant can have its own limit",
    low=1,
    high=10_000,
)
BULK_MAX_RUNS = env.whole("BULK_MAX_RUNS", 100_000, "largest number of runs in one bulk job", low=1, high=1_000_000)
BULK_RATE_PER_SECOND = env.number(
    "BULK_RATE_PER_SECOND",
    20,
    "requests per second that a bulk job without its own rate sends to Temporal",
    low=0.1,
    high=1000,
)
STREAM_NAME = matching(r"\S{1,100}", "a name of 1 to 100 characters without spaces")
EVENT_STREAM: str = env.parsed(
    "EVENT_STREAM", "pointsman:events", STREAM_NAME, "Redis stream that `manage.py consume_events` reads"
)
EVENT_STREAM_GROUP: str = env.parsed(
    "EVENT_STREAM_GROUP", "pointsman", STREAM_NAME, "consumer group of the portal on that stream"
)
EVENT_STREAM_DEAD: str = env.parsed(
    "EVENT_STREAM_DEAD",
    "pointsman:events:dead",
    STREAM_NAME,
    "Redis stream for entries that cannot become events; each entry has the reason",
)
if EVENT_STREAM_DEAD == EVENT_STREAM:
    raise ConfigError(
        "EVENT_STREAM_DEAD",
        "is the same as EVENT_STREAM; refused entries would be read again without end, so use another name",
    )
EVENT_STREAM_BATCH = env.whole(
    "EVENT_STREAM_BATCH", 100, "number of entries that are read and stored together", low=1, high=1000
)
EVENT_STREAM_CLAIM_SECONDS = env.number(
    "EVENT_STREAM_CLAIM_SECONDS",
    60,
    "seconds after which another consumer may claim an unacknowledged entry",
    low=1,
    high=86_400,
)
EVENT_STREAM_MAX_DELIVERIES = env.whole(
    "EVENT_STREAM_MAX_DELIVERIES",
    5,
    "attempts to process a stream entry before it becomes a dead letter",
    low=1,
    high=1000,
)
EVENT_STREAM_KEEP_SECONDS = env.number(
    "EVENT_STREAM_KEEP_SECONDS",
    604_800,
    "age in seconds at which entries are trimmed if every group has acknowledged them; 0: never",
    low=0,
    high=31_536_000,
)
