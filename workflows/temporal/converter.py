"""The data converter of every client, worker and test.

Pydantic's JSON keeps the order of keys. The SDK's default converter would sort the keys.

If keys are configured, the codec encrypts everything that the SDK calls a payload:

- inputs, results and signals
- queries and the results of queries
- heartbeat details and memos
- summaries of activities and timers
- details of failures

The messages and stack traces of failures would travel unencrypted, so the failure converter moves them into the
details.

These values are not encrypted and must never contain payload values:

- workflow ids and run ids
- names of activities, signals and queries
- task queues and identities
- the type of an error (its category)
- search attributes and headers
- the reason of a cancel
- times and sizes
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
    """Build a converter that encrypts if there are keys.

    If there are no keys, the converter still refuses ciphertext.
    """
    return DataConverter(
        payload_converter_class=PydanticPayloadConverter,
        payload_codec=EncryptionCodec(keys),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes if keys else DefaultFailureConverter,
    )


DATA_CONVERTER = build_converter(settings.TEMPORAL_PAYLOAD_KEYS)
