"""See `workflows.temporal.attempt_records`."""

from workflows.temporal.attempt_records import end_records, start_record

__all__ = ["end_records", "start_record"]
