"""Removal of secrets from log lines.

A record is scrubbed when it is created. So every handler gets the record without secrets. Values from `extra` are added
to the record later. The filter of the portal's own handler scrubs these values.
"""

import logging
from typing import Any

from workflows.actions.scrubbing import Scrubber, known_scrubbers

_FORMATTER = logging.Formatter()
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({})))


def install() -> None:
    """Scrub every log record of this process from now on. A repeated call does nothing."""
    make = logging.getLogRecordFactory()
    if getattr(make, "scrubs", False):
        return

    def make_scrubbed(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        scrub_record(record)
        return record

    make_scrubbed.scrubs = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_scrubbed)


class ScrubFilter(logging.Filter):
    """Log filter that scrubs records, including their `extra` values."""

    def filter(self, record: logging.LogRecord) -> bool:
        scrub_record(record)
        return True


def scrub_record(record: logging.LogRecord) -> None:
    """Remove the values of all open scrubbers from a record."""
    for scrubber in known_scrubbers():
        _scrub(record, scrubber)


def _scrub(record: logging.LogRecord, scrubber: Scrubber) -> None:
    message = _message(record)
    scrubbed = scrubber.scrub(message)
    if scrubbed != message:
        record.msg, record.args = scrubbed, None
    trace = record.exc_text or (_FORMATTER.formatException(record.exc_info) if record.exc_info else "")
    scrubbed = scrubber.scrub(trace)
    if scrubbed != trace:
        # The exception itself is removed, because another formatter would write its text again.
        record.exc_info, record.exc_text = None, scrubbed
    for name in vars(record).keys() - _OWN_FIELDS:
        setattr(record, name, scrubber.scrub(getattr(record, name)))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # The arguments do not match the text. The logging module would print the text and the arguments without
        # scrubbing.
        record.msg, record.args = f"{record.msg} {record.args!r}", None
        return str(record.msg)
