"""Database triggers that refuse writes to projection tables (docs/reference/authority.md#projection-writers).

A statement trigger on each projection table raises an error unless the transaction has a marker. Only
`projection_writer` in `workflows/projections/transaction.py` sets the marker. The marker is local to the transaction,
so a commit or a rollback removes the marker. The writer also removes it at the end of its block. Later statements of
the same transaction are then refused again.

The trigger works per statement. It therefore also sees TRUNCATE, COPY and statements that change no row.
Cost: one call per statement.
"""

import pgtrigger

WRITER_SETTING = "pointsman.projection_writer"
# Only the functions of retention (migration 0002) set this marker. The application's roles may not delete rows of the
# ledger and of the log of sign-ins at all, so the marker alone gives them nothing.
NOT_PRUNING = pgtrigger.Condition("coalesce(current_setting('pointsman.ledger_prune', true), '') = ''")
REFUSAL = "projection rows follow Temporal and only the projection writer changes them"

_FUNCTION = f"""
IF coalesce(current_setting('{WRITER_SETTING}', true), '') = '' THEN
    RAISE EXCEPTION '{REFUSAL} (% on %)', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Send the request to Temporal through workflows.services, for example cancel, signal or update.';
END IF;
RETURN NULL;
"""


def projection_guard() -> pgtrigger.Trigger:
    """Return the trigger that refuses every write except the writes of the projection writer."""
    return pgtrigger.Trigger(
        name="projection_guard",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate,
        func=_FUNCTION,
    )


def truncation_refused() -> pgtrigger.Trigger:
    """Return the trigger that refuses TRUNCATE, even for the owner of the table."""
    return pgtrigger.Trigger(
        name="no_truncate",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func="RAISE EXCEPTION '% is append-only and cannot be truncated', TG_TABLE_NAME"
        " USING ERRCODE = 'insufficient_privilege';",
    )
