"""Log lines without secrets, whoever writes them and whichever handler takes them.

A record is scrubbed where it is made, because a handler's filter would leave every other handler as it is. What a caller
adds by `extra` comes after that; the filter of our own handler takes care of it.
"""

import logging
from typing import Any

from workflows.actions.scrubbing import Scrubber, known_scrubbers

_FORMATTER = logging.Formatter()
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({})))


def install() -> None:
    """Once a process: every record that is made from now on is scrubbed."""
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
    def filter(self, record: logging.LogRecord) -> bool:
        scrub_record(record)
        return True


def scrub_record(record: logging.LogRecord) -> None:
    for scrubber in known_scrubbers():
        _scrub(record, scrubber)


def _scrub(record: logging.LogRecord, scrubber: Scrubber) -> None:
    told = _message(record)
    scrubbed = scrubber.scrub(told)
    if scrubbed != told:
        record.msg, record.args = scrubbed, None
    trace = record.exc_text or (_FORMATTER.formatException(record.exc_info) if record.exc_info else "")
    scrubbed = scrubber.scrub(trace)
    if scrubbed != trace:
        # Without the exception itself, which a formatter of another kind would spell out again.
        record.exc_info, record.exc_text = None, scrubbed
    for name in vars(record).keys() - _OWN_FIELDS:
        setattr(record, name, scrubber.scrub(getattr(record, name)))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Its arguments do not fit its text; logging would print both as they are.
        record.msg, record.args = f"{record.msg} {record.args!r}", None
        return str(record.msg)
