"""`consume_events` that kills itself at a crash point, for `forked.py`. `flag` is as in `crashing_worker.py`."""

from pathlib import Path

from django.core.management import call_command

from tests.support.crashing_worker import dies_after, dies_before


def always(*_: object, **__: object) -> bool:
    return True


def arm(point: str, flag: Path) -> None:
    from ingress.stream import consumer
    from ingress.stream.group import StreamGroup

    match point:
        case "after the read":
            StreamGroup.read_new = dies_after(StreamGroup.read_new, flag, always)  # type: ignore[method-assign]
        case "after the commit":
            receive = dies_after(consumer.stream_events_receive, flag, always)
            consumer.stream_events_receive = receive  # type: ignore[assignment]
        case "after the acknowledgement":
            StreamGroup.acknowledge = dies_after(StreamGroup.acknowledge, flag)  # type: ignore[method-assign]
        case "before the dead letter":
            write = dies_before(StreamGroup.write_dead_letter, flag)
            StreamGroup.write_dead_letter = write  # type: ignore[method-assign]
        case "between dead letter and acknowledgement":
            write_dead_letter, acknowledge = StreamGroup.write_dead_letter, StreamGroup.acknowledge

            def dying_write_dead_letter(self: StreamGroup, *arguments: object) -> bool:
                StreamGroup.acknowledge = dies_before(acknowledge, flag)  # type: ignore[method-assign]
                return write_dead_letter(self, *arguments)  # type: ignore[arg-type]

            StreamGroup.write_dead_letter = dying_write_dead_letter  # type: ignore[method-assign]
        case _:
            raise SystemExit(f"there is no crash point {point!r}; `arm` in {__file__} lists them")


def main(point: str, flag: Path, *arguments: str) -> None:
    """Run the command with these arguments. Without a point, it is never killed here."""
    if point:
        arm(point, flag)
    call_command("consume_events", *arguments)
