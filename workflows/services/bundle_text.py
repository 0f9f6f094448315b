"""Text of a bundle, as a file or a form contains it."""

from typing import Any

from django.conf import settings

from workflows.errors import InputInvalid, PortalError
from workflows.strict_json import JsonRefused, read_json


class BundleTooLarge(PortalError):
    """Bundle over the limit. The sender must split it."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"


def read_bundle_text(content: bytes) -> Any:
    """Return the JSON of a bundle. Decimals keep their digits.

    Errors: BundleTooLarge; InputInvalid BUNDLE_INVALID if the text is not strict JSON in UTF-8. The sender must act.
    """
    if len(content) > settings.BUNDLE_MAX_BYTES:
        raise BundleTooLarge(
            f"the bundle has {len(content)} bytes, but at most {settings.BUNDLE_MAX_BYTES} bytes are allowed; export "
            "fewer definitions into one bundle",
            details={"bytes": len(content), "limit": settings.BUNDLE_MAX_BYTES},
        )
    try:
        return read_json(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        problem, pointer = f"is not UTF-8: {error}; save the file in UTF-8", ""
    except RecursionError:
        problem, pointer = "is nested too deeply; send fewer levels of objects and arrays", ""
    except JsonRefused as error:
        problem, pointer = error.problem, error.pointer
    except ValueError as error:
        problem, pointer = f"is not valid JSON: {error}; send the exported file without changes", ""
    raise InputInvalid(f"{pointer or 'the bundle'}: {problem}", code="BUNDLE_INVALID", details={"path": pointer})
