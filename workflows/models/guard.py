"""The database's own refusal of writes to projections (docs/reference/authority.md#projection-writers).

A statement trigger on each projection table raises unless the transaction carries a marker. The marker is set and cleared
by `workflows.projections.writer.projection_writer` and by nobody else: it is transaction-local, so a rollback or a commit ends
it, and the writer clears it at the end of its own block, so that later statements of the same transaction are refused
again. Statement level, because that also sees TRUNCATE, COPY and statements that touch no row, and costs once per
statement.
"""

import pgtrigger

WRITER_SETTING = "pointsman.projection_writer"
REFUSAL = "projection rows follow Temporal and are not written here"

_FUNCTION = f"""
IF coalesce(current_setting('{WRITER_SETTING}', true), '') = '' THEN
    RAISE EXCEPTION '{REFUSAL} (% on %)', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Ask Temporal through workflows.services (cancel, signal, update); only its record changes a run.';
END IF;
RETURN NULL;
"""


def projection_guard() -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name="projection_guard",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete | pgtrigger.Truncate,
        func=_FUNCTION,
    )


def truncation_refused() -> pgtrigger.Trigger:
    return pgtrigger.Trigger(
        name="no_truncate",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func="RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';",
    )
