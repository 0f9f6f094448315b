"""Encryption of every payload that is sent to Temporal. Temporal's server, UI and backups contain only ciphertext.

Rules:

- The first key encrypts. Every key decrypts, so that keys can be rotated.
- The id of the key is stored unencrypted beside the ciphertext, and is authenticated with the ciphertext.
- A payload that is not encrypted passes unchanged, so that runs from before the introduction of encryption continue.
- If a payload cannot be decrypted, an ordinary exception is raised. The SDK then repeats the task until an operator has
  corrected the keys. A non-retryable ApplicationError would end the run.
- A process without keys uses this codec too. Without the codec, ciphertext would reach the payload converter, and the
  SDK drops a signal that it cannot convert.

The SDK calls the codec on the event loop, outside the workflow sandbox.
"""

import secrets
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

# Names that are stored in Temporal histories for years. Never change them.
ENCODING = b"binary/encrypted"
KEY_ID = "encryption-key-id"
NONCE_BYTES = 12


class PayloadKeyUnknown(Exception):
    """A payload is encrypted with a key that this process does not have.

    An operator must add the key to the setting.
    """


class PayloadDamaged(Exception):
    """A payload was altered, or this process has another key under the same key id.

    An operator must compare the keys.
    """


class EncryptionCodec(PayloadCodec):
    """AES-256-GCM codec.

    `keys` holds the keys by id, in the order of the setting. Without keys, nothing is encrypted.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(self._ciphers), None)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self._first is None:
            return list(payloads)
        return [self._encrypted(payload, self._first) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt the payloads. Errors: PayloadKeyUnknown, PayloadDamaged."""
        return [
            self._decrypted(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypted(self, payload: Payload, key_id: str) -> Payload:
        nonce, associated = secrets.token_bytes(NONCE_BYTES), key_id.encode()
        ciphertext = self._ciphers[key_id].encrypt(nonce, payload.SerializeToString(), associated)
        return Payload(metadata={"encoding": ENCODING, KEY_ID: associated}, data=nonce + ciphertext)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata.get(KEY_ID, b"")
        shown = key_id.decode("utf-8", "replace")
        cipher = self._ciphers.get(shown)
        if cipher is None:
            raise PayloadKeyUnknown(
                f"a payload is encrypted with the key {shown!r}, which this process does not have; add that key"
                " to TEMPORAL_PAYLOAD_KEYS (after the first key, if there is one) and restart"
            )
        nonce, ciphertext = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(cipher.decrypt(nonce, ciphertext, key_id))
        except (InvalidTag, ValueError) as error:  # ValueError: the data is shorter than a nonce
            raise PayloadDamaged(
                f"a payload with the key id {shown!r} does not decrypt: it was altered, or TEMPORAL_PAYLOAD_KEYS has"
                " another key under this id than the process that wrote it; compare the keys of the two processes"
            ) from error
