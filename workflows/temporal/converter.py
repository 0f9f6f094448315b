"""The one data converter of every client, worker and test.

Pydantic's JSON keeps the order of keys, which the SDK's default converter would sort.
"""

from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter

DATA_CONVERTER = DataConverter(payload_converter_class=PydanticPayloadConverter)
