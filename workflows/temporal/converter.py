"""The data converter of every client, worker and test.

Pydantic's JSON keeps the order of keys. The SDK's default converter would sort them.

With keys configured, the codec encrypts everything that the SDK calls a payload: inputs, results, signals, queries and
their results, heartbeat details, memos, summaries of activities and timers, and details of failures. The failure
converter moves messages and stack traces of failures into these details, because they would otherwise travel
unencrypted.

Not encrypted are: workflow and run ids; names of activities, signals and queries; task queues; identities; the type of
an error (its category); search attributes; headers; the reason of a cancel; times and sizes. None of them may contain
payload values.
"""

from collections.abc import Mapping

from django.conf import settings
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
)

from workflows.temporal.codec import EncryptionCodec


def build_converter(keys: Mapping[str, bytes]) -> DataConverter:
    """Build a converter that encrypts if there are keys. Without keys, it still refuses ciphertext."""
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes if keys else DefaultFailureConverter,
    )


DATA_CONVERTER = build_converter(settings.TEMPORAL_PAYLOAD_KEYS)
