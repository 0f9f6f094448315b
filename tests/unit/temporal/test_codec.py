"""Payloads are encrypted with the first key and decrypted with any key. A changed payload is refused."""

import asyncio
import base64
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.exceptions import ApplicationError

from portal.env import ConfigError, Env, named_keys
from workflows.temporal.codec import KEY_ID, EncryptionCodec, PayloadDamaged, PayloadKeyUnknown
from workflows.temporal.converter import build_converter

ROOT = Path(__file__).resolve().parents[3]
OLD, NEW = {"2025": secrets.token_bytes(32)}, {"2026": secrets.token_bytes(32)}
PLAIN = Payload(metadata={"encoding": b"json/plain", "messageType": b"x"}, data=b'{"name":"Zoe"}')


def encode(keys: dict[str, bytes], *payloads: Payload) -> list[Payload]:
    return asyncio.run(EncryptionCodec(keys).encode(payloads))


def decode(keys: dict[str, bytes], *payloads: Payload) -> list[Payload]:
    return asyncio.run(EncryptionCodec(keys).decode(payloads))


def test_decrypted_payload_has_its_metadata() -> None:
    empty = Payload(metadata={"encoding": b"binary/null"})
    encrypted = encode(NEW, PLAIN, empty)
    assert decode(NEW, *encrypted) == [PLAIN, empty]
    assert dict(encrypted[0].metadata) == {"encoding": b"binary/encrypted", "encryption-key-id": b"2026"}
    assert len(encrypted[0].data) == 12 + PLAIN.ByteSize() + 16
    assert PLAIN.data == b'{"name":"Zoe"}'


def test_same_payload_is_encrypted_differently_each_time() -> None:
    first, second = encode(NEW, PLAIN, PLAIN)
    assert first.data[:12] != second.data[:12]
    assert first.data[12:] != second.data[12:]


def test_first_key_encrypts_and_all_keys_decrypt() -> None:
    old, (recent,) = encode(OLD, PLAIN), encode({**NEW, **OLD}, PLAIN)
    assert recent.metadata[KEY_ID] == b"2026"
    assert decode({**NEW, **OLD}, *old, recent) == [PLAIN, PLAIN]
    assert decode({**OLD, **NEW}, *old, recent) == [PLAIN, PLAIN]


def test_error_for_an_unknown_key_names_key_and_remedy() -> None:
    with pytest.raises(PayloadKeyUnknown, match="the key '2025', .* add that key to TEMPORAL_PAYLOAD_KEYS"):
        decode(NEW, *encode(OLD, PLAIN))


def test_without_keys_nothing_is_encrypted_and_ciphertext_is_refused() -> None:
    assert encode({}, PLAIN) == decode({}, PLAIN) == [PLAIN]
    with pytest.raises(PayloadKeyUnknown, match="the key '2025'"):
        decode({}, *encode(OLD, PLAIN))


def test_payload_that_cannot_be_decrypted_does_not_end_the_run() -> None:
    """Check that the errors are no ApplicationError, for which the SDK fails the workflow instead of the task."""
    assert not issubclass(PayloadKeyUnknown, ApplicationError)
    assert not issubclass(PayloadDamaged, ApplicationError)


@pytest.mark.parametrize("position", [0, 11, 12, 30, -1])
def test_altered_bytes_are_refused(position: int) -> None:
    (encrypted,) = encode(NEW, PLAIN)
    data = bytearray(encrypted.data)
    data[position] ^= 1
    with pytest.raises(PayloadDamaged, match="'2026' does not decrypt"):
        decode(NEW, Payload(metadata=encrypted.metadata, data=bytes(data)))


@pytest.mark.parametrize("length", [0, 5, 12, 27])
def test_truncated_bytes_are_refused(length: int) -> None:
    (encrypted,) = encode(NEW, PLAIN)
    with pytest.raises(PayloadDamaged):
        decode(NEW, Payload(metadata=encrypted.metadata, data=encrypted.data[:length]))


def test_key_id_is_authenticated_even_if_it_names_the_same_key() -> None:
    (encrypted,) = encode(NEW, PLAIN)
    encrypted.metadata[KEY_ID] = b"alias"
    with pytest.raises(PayloadDamaged):
        decode({**NEW, "alias": NEW["2026"]}, encrypted)
    with pytest.raises(PayloadDamaged):
        decode({**NEW, "alias": OLD["2025"]}, encrypted)


def test_unencrypted_payload_is_returned_unchanged() -> None:
    (encrypted,) = encode(NEW, PLAIN)
    assert decode(NEW, PLAIN, encrypted, Payload()) == [PLAIN, PLAIN, Payload()]


def test_message_and_trace_of_a_failure_are_encrypted() -> None:
    converter, failure = build_converter(NEW), Failure()
    try:
        raise ApplicationError("canary", {"detail": "canary"}) from ValueError("canary")
    except ApplicationError as error:
        asyncio.run(converter.encode_failure(error, failure))
    assert b"canary" not in failure.SerializeToString()
    assert (failure.message, failure.cause.message, failure.stack_trace) == ("Encoded failure", "Encoded failure", "")
    back: Any = asyncio.run(converter.decode_failure(failure))
    assert (back.message, back.details, back.cause.message) == ("canary", ({"detail": "canary"},), "canary")


def test_without_keys_the_converter_encrypts_nothing() -> None:
    converter, failure = build_converter({}), Failure()
    (payload,) = asyncio.run(converter.encode([{"b": 1, "a": 2}]))
    assert (payload.metadata["encoding"], payload.data) == (b"json/plain", b'{"b":1,"a":2}')
    asyncio.run(converter.encode_failure(ApplicationError("canary"), failure))
    assert failure.message == "canary"


# -- The setting -----------------------------------------------------------------------------------------------------

SETTING = "TEMPORAL_PAYLOAD_KEYS"
KEY = base64.b64encode(b"k" * 31 + b"\xff").decode()


def read(value: str) -> dict[str, bytes]:
    # With its own name. Another name would count as a setting that is missing in the README.
    keys: dict[str, bytes] = Env({SETTING: value}).parsed(SETTING, "", named_keys, "")
    return keys


def test_keys_keep_their_order_and_empty_value_means_no_encryption() -> None:
    assert read("") == {}
    other = base64.b64encode(b"o" * 32).decode()
    assert list(read(f"new : {KEY} ,old.1_-:{other}").items()) == [("new", b"k" * 31 + b"\xff"), ("old.1_-", b"o" * 32)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (KEY, "entry 1 is not `id:key`"),
        (",", "entry 1 is not `id:key`"),
        (f"a:{KEY},", "entry 2 is not `id:key`"),
        (f"{KEY}:a", "the id of entry 1 must be"),
        (f":{KEY}", "the id of entry 1 must be"),
        (f"a b:{KEY}", "the id of entry 1 must be"),
        (f"{'i' * 65}:{KEY}", "the id of entry 1 must be"),
        (f"ä:{KEY}", "the id of entry 1 must be"),
        (f"a:{KEY},a:{KEY}", "the id of entry 2 is used by an earlier entry"),
        (f"a:{KEY}b:{KEY}", "the key of entry 1 must be the base64 of 32 bytes"),
        ("a:", "the key of entry 1 must be"),
        (f"a:{KEY[:-1]}", "the key of entry 1 must be"),
        (f"a:{KEY[:20]}!{KEY[20:]}", "the key of entry 1 must be"),
        (f"a:{base64.b64encode(b'k' * 31).decode()}", "the key of entry 1 must be"),
        (f"a:{KEY},b:kä", "the key of entry 2 must be"),
        (f"{KEY[:-1].replace('/', '_')}:a", "the key of entry 1 must be"),
    ],
)
def test_wrong_value_is_refused_and_not_shown(value: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(value)
    assert str(caught.value).startswith(f"{SETTING}: {message}")
    assert KEY[:16] not in str(caught.value)


def test_process_stops_at_a_wrong_key_and_does_not_print_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={"PATH": "/usr/bin", "POINTSMAN_HOME": str(tmp_path), SETTING: f"a:{KEY[:-4]}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "TEMPORAL_PAYLOAD_KEYS: the key of entry 1 must be the base64 of 32 bytes" in done.stderr
    assert "Traceback" not in done.stderr
    assert KEY[:16] not in done.stdout + done.stderr


def test_process_with_keys_uses_the_codec(tmp_path: Path) -> None:
    code = (
        "import django; django.setup(); from workflows.temporal.converter import DATA_CONVERTER as c;"
        "print(type(c.payload_codec).__name__, c.failure_converter_class.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin",
            "POINTSMAN_HOME": str(tmp_path),
            SETTING: f"a:{KEY}",
            "DJANGO_SETTINGS_MODULE": "portal.settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["EncryptionCodec", "DefaultFailureConverterWithEncodedAttributes"], done.stderr


def test_command_in_the_docs_creates_a_key() -> None:
    (code,) = [
        line.split('python -c "')[1].rstrip('"')
        for line in (ROOT / "docs" / "operators.md").read_text(encoding="utf-8").splitlines()
        if line.startswith('python -c "')
    ]
    created = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert len(read(f"2026-01:{created}")["2026-01"]) == 32
