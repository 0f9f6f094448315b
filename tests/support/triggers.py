"""A step and a trigger for definitions that an event starts."""

STATE = {"id": "s", "type": "state.set", "config": {"state": "X"}}
TRIGGER = {"type": "event", "eventName": "REPLIED"}
