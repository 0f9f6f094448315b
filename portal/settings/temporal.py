"""Temporal: address, credentials, payload encryption and worker."""

from portal.env import env, matching, named_keys
from portal.settings.environment import required_in_production
from portal.settings.web import URL

TEMPORAL_PORT = env.port("TEMPORAL_PORT", 17233, "port of the embedded Temporal dev server")
TEMPORAL_UI_PORT = env.port("TEMPORAL_UI_PORT", 18233, "port of the embedded Temporal UI")

TEMPORAL_ADDRESS = required_in_production(
    "TEMPORAL_ADDRESS",
    env.parsed(
        "TEMPORAL_ADDRESS",
        "",
        matching(r"[^\s:/]+:\d+", "host:port"),
        "Temporal frontend: `host:port`; if not set, the embedded dev server",
    ),
    f"127.0.0.1:{TEMPORAL_PORT}",
)
TEMPORAL_NAMESPACE = env.text("TEMPORAL_NAMESPACE", "default", "Temporal namespace")
TEMPORAL_TASK_QUEUE = env.text("TEMPORAL_TASK_QUEUE", "pointsman", "task queue of the Temporal worker")
TEMPORAL_API_KEY = env.secret("TEMPORAL_API_KEY", "API key for Temporal Cloud")
TEMPORAL_TLS = env.flag("TEMPORAL_TLS", False, "connect to Temporal with TLS")
TEMPORAL_TLS_CA = env.file("TEMPORAL_TLS_CA", "file with the CA certificate of the Temporal server")
TEMPORAL_TLS_CERT = env.file("TEMPORAL_TLS_CERT", "file with the client certificate")
TEMPORAL_TLS_KEY = env.file("TEMPORAL_TLS_KEY", "file with the key of the client certificate")
TEMPORAL_RPC_TIMEOUT_SECONDS = env.number(
    "TEMPORAL_RPC_TIMEOUT_SECONDS", 5, "time limit of one call to Temporal, in seconds", low=0.1, high=60
)
# The first key encrypts. All keys decrypt. Django's error pages hide the value, because the name contains KEY.
TEMPORAL_PAYLOAD_KEYS: dict[str, bytes] = env.parsed(
    "TEMPORAL_PAYLOAD_KEYS",
    "",
    named_keys,
    "keys for payloads in Temporal: `id:base64 of 32 bytes`, separated by commas; the first key encrypts, all"
    " decrypt; if not set, payloads are not encrypted",
)
TEMPORAL_UI_URL: str = env.parsed(
    "TEMPORAL_UI_URL", f"http://127.0.0.1:{TEMPORAL_UI_PORT}", URL, "address of the Temporal UI, used in links"
).rstrip("/")
TEMPORAL_CLI = env.text("TEMPORAL_CLI", "", "path of a `temporal` binary; it is used instead of a downloaded one")
TEMPORAL_ACTIVITY_THREADS = env.whole(
    "TEMPORAL_ACTIVITY_THREADS",
    16,
    "number of activities that one Temporal worker runs at the same time",
    low=1,
    high=200,
)
TEMPORAL_DRAIN_SECONDS = env.number(
    "TEMPORAL_DRAIN_SECONDS",
    20,
    "time in seconds that running activities get to end when the worker stops",
    low=0,
    high=3600,
)
