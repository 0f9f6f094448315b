"""Temporal: address, credentials, payload encryption, worker."""

from portal.env import env, matching, named_keys
from portal.settings.environment import required_in_production
from portal.settings.web import URL

TEMPORAL_PORT = env.port("TEMPORAL_PORT", 17233, "port of the embedded Temporal dev server")
TEMPORAL_UI_PORT = env.port("TEMPORAL_UI_PORT", 18233, "port of Temporal's own UI beside the embedded server")

TEMPORAL_ADDRESS = required_in_production(
    "TEMPORAL_ADDRESS",
    env.parsed(
        "TEMPORAL_ADDRESS",
        "",
        matching(r"[^\s:/]+:\d+", "host:port"),
        "Temporal frontend `host:port`; else the embedded dev server",
    ),
    f"127.0.0.1:{TEMPORAL_PORT}",
)
TEMPORAL_NAMESPACE = env.text("TEMPORAL_NAMESPACE", "default", "Temporal namespace")
TEMPORAL_TASK_QUEUE = env.text("TEMPORAL_TASK_QUEUE", "pointsman", "task queue of the Temporal worker")
TEMPORAL_API_KEY = env.secret("TEMPORAL_API_KEY", "API key (Temporal Cloud)")
TEMPORAL_TLS = env.flag("TEMPORAL_TLS", False, "use TLS towards Temporal")
TEMPORAL_TLS_CA = env.file("TEMPORAL_TLS_CA", "file with the certificate authority of Temporal's server")
TEMPORAL_TLS_CERT = env.file("TEMPORAL_TLS_CERT", "file with the client certificate")
TEMPORAL_TLS_KEY = env.file("TEMPORAL_TLS_KEY", "file with the client certificate's key")
TEMPORAL_RPC_TIMEOUT_SECONDS = env.number(
    "TEMPORAL_RPC_TIMEOUT_SECONDS", 5, "time that one call to Temporal may take", low=0.1, high=60
)
# In order: the first encrypts, all decrypt. Django's error pages hide it for its name.
TEMPORAL_PAYLOAD_KEYS: dict[str, bytes] = env.parsed(
    "TEMPORAL_PAYLOAD_KEYS",
    "",
    named_keys,
    "keys that encrypt payloads in Temporal, `id:base64 of 32 bytes`, with commas; the first encrypts; empty: no encryption",
)
TEMPORAL_UI_URL: str = env.parsed(
    "TEMPORAL_UI_URL", f"http://127.0.0.1:{TEMPORAL_UI_PORT}", URL, "address of Temporal's own UI, for links"
).rstrip("/")
TEMPORAL_CLI = env.text("TEMPORAL_CLI", "", "the `temporal` binary to use, before all other sources")
TEMPORAL_ACTIVITY_THREADS = env.whole(
    "TEMPORAL_ACTIVITY_THREADS", 16, "activities that one Temporal worker runs at once", low=1, high=200
)
TEMPORAL_DRAIN_SECONDS = env.number(
    "TEMPORAL_DRAIN_SECONDS", 20, "time that running activities get when the worker is told to stop", low=0, high=3600
)
