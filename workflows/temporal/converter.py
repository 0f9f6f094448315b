"""The one data converter of every client, worker and test.

Pydantic's JSON keeps the order of keys, which the SDK's default converter would sort. With keys configured, the codec
encrypts what the SDK calls a payload: inputs, results, signals, queries and their answers, heartbeat details, memos, the
summaries of activities and timers, and the details of failures. The failure converter moves messages and stack traces
there too; without it they would travel in clear.

In clear stay: workflow and run ids, activity, signal and query names, task queues, identities, the type of an error (its
category), search attributes, headers, the reason of a cancel, times and sizes. None of them may hold a payload.
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
    """Encrypts when there are keys. Without any the codec only refuses ciphertext, which the SDK would drop."""
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes if keys else DefaultFailureConverter,
    )


DATA_CONVERTER = build_converter(settings.TEMPORAL_PAYLOAD_KEYS)
