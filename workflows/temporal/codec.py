"""Encrypts every payload on its way to Temporal, so that its server, its UI and its backups hold ciphertext.

Rules it keeps. The first key encrypts, every key decrypts (rotation). The key's id stands in clear beside the ciphertext
and is authenticated with it. What was never encrypted passes, so that a run from before the switch goes on. What does
not decrypt raises an ordinary exception here: the SDK then repeats the task until an operator has put the key right. A
non-retryable ApplicationError would end the run, and ciphertext that reached the payload converter would be worse: the
SDK drops a signal that it cannot convert. So a process without keys has this codec too.

The SDK calls this on the event loop, outside of the workflow sandbox.
"""

import secrets
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

# Wire names: histories hold them for years.
ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
NONCE_BYTES = 12


class PayloadKeyUnknown(Exception):
    """A payload is encrypted under a key that this process was not given. An operator must add it to the setting."""


class PayloadDamaged(Exception):
    """A payload is not what was encrypted under its key, or its id names another key here. An operator must look."""


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM; `keys` by id, in the setting's order. Without any it encrypts nothing and still refuses ciphertext."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(self._ciphers), None)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._first is None:
            return list(payloads)
        return [self._encrypted(payload, self._first) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Errors: PayloadKeyUnknown, PayloadDamaged."""
        return [
            self._decrypted(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypted(self, payload: Payload, key_id: str) -> Payload:
        nonce, associated = secrets.token_bytes(NONCE_BYTES), key_id.encode()
        sealed = self._ciphers[key_id].encrypt(nonce, payload.SerializeToString(), associated)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: associated}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        shown = key_id.decode("utf-8", "replace")
        cipher = self._ciphers.get(shown)
        if cipher is None:
            raise PayloadKeyUnknown(
                f"a payload is encrypted under the key {shown!r}, which this process does not have; add that key"
                " to TEMPORAL_PAYLOAD_KEYS (behind the first, if there is one) and restart"
            )
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, sealed, key_id))
        except (InvalidTag, ValueError) as error:  # ValueError: shorter than a nonce
            raise PayloadDamaged(
                f"a payload under the key {shown!r} does not decrypt: it was altered, or TEMPORAL_PAYLOAD_KEYS gives"
                " that id to another key here than where it was written"
            ) from error
