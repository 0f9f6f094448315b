"""Triggers that guard projections and ledgers, and the audit chain.

Tables belong to the login that migrates. The other logins may read and write rows, and may neither truncate nor alter a
table (docs/reference/authority.md#projection-writers). `manage.py migrate` creates the logins before the migrations, and
grants their rights after the migrations (portal/database/rights.py).
"""

from django.db import migrations
from pgtrigger.compiler import Trigger, UpsertTriggerSql
from pgtrigger.migrations import AddTrigger

# pgtrigger removes triggers, but not their functions. This operation is the first one, so it is reversed last.
DROP_TRIGGER_FUNCTIONS = """
DO $$
DECLARE
    unused regprocedure;
BEGIN
    FOR unused IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'pgtrigger\\_%'
            AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = pg_proc.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', unused);
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proname LIKE 'pgtrigger\\_%'
    ) THEN
        DROP FUNCTION IF EXISTS _pgtrigger_should_ignore(name);
    END IF;
END
$$;
"""

# See workflows/models/guard.py. The trigger works per statement, so that it also sees TRUNCATE.
REFUSAL = "projection rows follow Temporal and only the projection writer changes them"
PROJECTION_GUARD = f"""
IF coalesce(current_setting('pointsman.projection_writer', true), '') = '' THEN
    RAISE EXCEPTION '{REFUSAL} (% on %)', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Send the request to Temporal through workflows.services, for example cancel, signal or update.';
END IF;
RETURN NULL;
"""
NO_TRUNCATE = (
    "RAISE EXCEPTION '% is append-only and cannot be truncated', TG_TABLE_NAME"
    " USING ERRCODE = 'insufficient_privilege';"
)

NOT_PRUNING = "WHEN (coalesce(current_setting('pointsman.ledger_prune', true), '') = '')"

# The content of a command may not change after the request. Its state moves only along these transitions.
REQUEST_COLUMNS = [
    "id", "tenant_id", "action", "target_type", "target_id", "run_id", "actor_type", "actor_id", "actor_name", "source",
    "reason", "idempotency_key", "request_hash", "payload", "parent_id", "requested_at",
]  # fmt: skip
REQUEST_CHANGES = " OR ".join(f'OLD."{column}" IS DISTINCT FROM (NEW."{column}")' for column in REQUEST_COLUMNS)
STATE_TRANSITIONS = [
    "requested:accepted", "requested:observed", "requested:refused", "requested:failed", "requested:unknown",
    "unknown:observed", "unknown:failed", "accepted:observed", "accepted:failed",
]  # fmt: skip
STATE_MOVES_FORWARD = (
    f"""SELECT CONCAT(OLD."state", ':', NEW."state") = ANY('{{{",".join(STATE_TRANSITIONS)}}}'::text[])"""
    " INTO _is_valid_transition;"
    """ IF (_is_valid_transition IS FALSE AND OLD."state" IS DISTINCT FROM NEW."state") THEN"""
    """ RAISE EXCEPTION 'pgtrigger: Invalid transition of field "state" from "%" to "%" on table %',"""
    """ OLD."state", NEW."state", TG_TABLE_NAME; ELSE RETURN NEW; END IF;"""
)

# Each insert and each update of a ledger row adds an entry to the tenant's audit chain
# (docs/reference/authority.md#command-ledger). The function runs as the owner of the tables, because the application's
# role may only read the entries. It locks the tenant until the transaction ends, so that entries follow one another.
# The trigger is deferred to the commit. A lock in the middle of a transaction could deadlock with the row locks that
# two transactions take before and after it.
AUDIT_CHAIN = """
CREATE FUNCTION workflow_audit_content(command workflow_commands) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT (to_jsonb(command) || jsonb_build_object(
        'requested_at', extract(epoch FROM command.requested_at), 'decided_at', extract(epoch FROM command.decided_at),
        'observed_at', extract(epoch FROM command.observed_at)))::text
$$;
CREATE FUNCTION workflow_audit_link() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    last record;
    content text := workflow_audit_content(NEW);
BEGIN
    PERFORM pg_advisory_xact_lock(5042, hashtext(NEW.tenant_id::text));
    SELECT seq, hash INTO last FROM workflow_command_entries WHERE tenant_id = NEW.tenant_id ORDER BY seq DESC LIMIT 1;
    IF NOT FOUND THEN
        SELECT seq, hash INTO last FROM workflow_ledger_checkpoints WHERE tenant_id = NEW.tenant_id;
    END IF;
    INSERT INTO workflow_command_entries (id, tenant_id, seq, command_id, content, hash, written_at)
    VALUES (gen_random_uuid(), NEW.tenant_id, coalesce(last.seq, 0) + 1, NEW.id, content,
            encode(sha256(convert_to(coalesce(last.hash, '') || content, 'UTF8')), 'hex'), clock_timestamp());
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER audit_link AFTER INSERT OR UPDATE ON workflow_commands DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION workflow_audit_link();
-- Without this, a role could call the function from a trigger on a table of its own, and write links of its choice.
REVOKE ALL ON FUNCTION workflow_audit_link() FROM PUBLIC;
"""
DROP_AUDIT_CHAIN = """
DROP TRIGGER audit_link ON workflow_commands;
DROP FUNCTION workflow_audit_link();
DROP FUNCTION workflow_audit_content(workflow_commands);
"""
# Retention deletes the ledger only through this function, only as a prefix of the audit chain, and only links that are
# older than the period of the tenant and than 90 days. It checks every hash and writes the checkpoint in the same
# transaction. A row of the ledger is deleted together with its last link. The commands of bulk jobs that are still
# stored are kept, so the prefix ends before their last links. The commands on runs with a legal hold, and on their
# families, are kept whole, so the prefix ends before their first links.
LEDGER_PRUNE = """
CREATE FUNCTION workflow_ledger_prune(of_tenant uuid, max_links integer, is_dry boolean)
    RETURNS TABLE (links bigint, commands bigint, kept_by text)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    start_seq bigint;
    end_seq bigint;
    last_seq bigint;
    last_hash text;
    blocked bigint;
    held bigint;
    held_roots uuid[];
    held_runs uuid[];
    link record;
    cutoff timestamptz;
    old_commands uuid[];
    deleted bigint;
BEGIN
    -- A process that changes an old command waits for this lock at its commit, and this function for its row.
    PERFORM set_config('lock_timeout', '500ms', true);
    PERFORM pg_advisory_xact_lock(5042, hashtext(of_tenant::text));
    SELECT clock_timestamp() - make_interval(days => greatest(90, tenant.ledger_retention_days)) INTO STRICT cutoff
        FROM tenants AS tenant WHERE tenant.id = of_tenant;
    SELECT point.seq, point.hash INTO last_seq, last_hash
        FROM workflow_ledger_checkpoints AS point WHERE point.tenant_id = of_tenant;
    last_seq := coalesce(last_seq, 0);
    start_seq := last_seq;
    FOR link IN
        SELECT entry.seq, entry.content, entry.hash, entry.written_at FROM workflow_command_entries AS entry
        WHERE entry.tenant_id = of_tenant AND entry.seq > start_seq ORDER BY entry.seq LIMIT max_links
    LOOP
        EXIT WHEN link.written_at >= cutoff;
        IF link.seq <> last_seq + 1
            OR link.hash <> encode(sha256(convert_to(coalesce(last_hash, '') || link.content, 'UTF8')), 'hex') THEN
            RAISE EXCEPTION 'the audit chain of tenant % is not intact at link %; nothing was deleted',
                of_tenant, last_seq + 1 USING HINT = 'Run manage.py verify_audit.';
        END IF;
        last_seq := link.seq;
        last_hash := link.hash;
    END LOOP;
    end_seq := last_seq;
    SELECT min(ends.seq) INTO blocked FROM (
        SELECT entry.command_id, max(entry.seq) AS seq FROM workflow_command_entries AS entry
        WHERE entry.tenant_id = of_tenant AND entry.seq > start_seq AND entry.seq <= end_seq GROUP BY entry.command_id
    ) AS ends
    WHERE EXISTS (SELECT FROM workflow_bulk_jobs AS job WHERE job.command_id = ends.command_id)
        OR EXISTS (SELECT FROM workflow_bulk_items AS item WHERE item.command_id = ends.command_id);
    SELECT array_agg(coalesce(run.root_run_id, run.id)) INTO held_roots FROM workflow_run_holds AS hold
        JOIN workflow_runs AS run ON run.id = hold.run_id WHERE hold.tenant_id = of_tenant;
    SELECT array_agg(run.id) INTO held_runs FROM workflow_runs AS run
        WHERE run.tenant_id = of_tenant AND (run.id = ANY(held_roots) OR run.root_run_id = ANY(held_roots));
    IF held_runs IS NOT NULL THEN
        SELECT min(entry.seq) INTO held FROM workflow_command_entries AS entry
            JOIN workflow_commands AS command ON command.id = entry.command_id
            WHERE entry.tenant_id = of_tenant AND entry.seq > start_seq AND entry.seq <= end_seq
            AND (command.run_id = ANY(held_runs)
                 OR command.target_type = 'run' AND command.target_id = ANY(held_runs::text[]));
    END IF;
    end_seq := coalesce(least(blocked, held) - 1, end_seq);
    kept_by := CASE WHEN held <= coalesce(blocked, held) THEN 'run with a legal hold'
                    WHEN blocked IS NOT NULL THEN 'bulk job' ELSE '' END;
    IF is_dry OR end_seq = start_seq THEN
        RETURN QUERY SELECT end_seq - start_seq, 0::bigint, kept_by;
        RETURN;
    END IF;
    SELECT array_agg(DISTINCT entry.command_id) INTO old_commands FROM workflow_command_entries AS entry
        WHERE entry.tenant_id = of_tenant AND entry.seq > start_seq AND entry.seq <= end_seq
        AND NOT EXISTS (SELECT FROM workflow_command_entries AS later
                        WHERE later.command_id = entry.command_id AND later.seq > end_seq);
    SELECT entry.hash, entry.written_at INTO link FROM workflow_command_entries AS entry
        WHERE entry.tenant_id = of_tenant AND entry.seq = end_seq;
    PERFORM set_config('pointsman.ledger_prune', 'yes', true);
    DELETE FROM workflow_command_entries AS entry
        WHERE entry.tenant_id = of_tenant AND entry.seq > start_seq AND entry.seq <= end_seq;
    DELETE FROM workflow_commands AS command WHERE command.tenant_id = of_tenant AND command.id = ANY(old_commands);
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('pointsman.ledger_prune', '', true);
    INSERT INTO workflow_ledger_checkpoints AS point (id, tenant_id, seq, hash, written_at, commands, pruned_at)
        VALUES (gen_random_uuid(), of_tenant, end_seq, link.hash, link.written_at, deleted, clock_timestamp())
        ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
            written_at = excluded.written_at, commands = point.commands + excluded.commands,
            pruned_at = excluded.pruned_at;
    RETURN QUERY SELECT end_seq - start_seq, deleted, kept_by;
END
$$;
REVOKE ALL ON FUNCTION workflow_ledger_prune(uuid, integer, boolean) FROM PUBLIC;
"""
# Retention deletes the log of sign-ins only through this function, and only records that are older than the period of the
# tenant and than 90 days. Records without a tenant are kept for 365 days. Ids sort by time, so the oldest come first.
SIGN_IN_PRUNE = """
CREATE FUNCTION sign_in_records_prune(of_tenant uuid, max_rows integer, is_dry boolean) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    cutoff timestamptz;
    old_records uuid[];
BEGIN
    SELECT clock_timestamp() - make_interval(days => greatest(90, coalesce(
        (SELECT tenant.sign_in_retention_days FROM tenants AS tenant WHERE tenant.id = of_tenant), 365))) INTO cutoff;
    SELECT array_agg(record.id) INTO old_records FROM (
        SELECT entry.id, entry.at FROM sign_in_records AS entry
        WHERE entry.tenant_id IS NOT DISTINCT FROM of_tenant ORDER BY entry.id LIMIT max_rows
    ) AS record WHERE record.at < cutoff;
    IF NOT is_dry THEN
        PERFORM set_config('pointsman.ledger_prune', 'yes', true);
        DELETE FROM sign_in_records AS entry WHERE entry.id = ANY(old_records);
        PERFORM set_config('pointsman.ledger_prune', '', true);
    END IF;
    RETURN coalesce(cardinality(old_records), 0);
END
$$;
REVOKE ALL ON FUNCTION sign_in_records_prune(uuid, integer, boolean) FROM PUBLIC;
"""
DROP_SIGN_IN_PRUNE = "DROP FUNCTION sign_in_records_prune(uuid, integer, boolean)"
DROP_LEDGER_PRUNE = "DROP FUNCTION workflow_ledger_prune(uuid, integer, boolean)"
# Counts of problems over all tenants, for health pages. The login of the application sees one tenant at a time, so it
# reads them with this function. No tenant can be recognised in the result.
PROBLEM_COUNTS = """
CREATE FUNCTION workflow_problem_counts(open_statuses text[])
    RETURNS TABLE (marked_runs bigint, stuck_runs bigint, oldest_starting_seconds double precision,
                   unknown_commands bigint, missing_actions text[])
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT
        (SELECT count(*) FROM workflow_runs
            WHERE status = ANY(open_statuses) AND engine = 'temporal' AND drift_found_at IS NOT NULL),
        (SELECT count(*) FROM workflow_runs WHERE status = ANY(open_statuses) AND stuck_since IS NOT NULL),
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM workflow_runs
            WHERE status = 'STARTING' AND queued_until IS NULL),
        (SELECT count(*) FROM workflow_commands
            WHERE state = 'unknown' AND requested_at > clock_timestamp() - interval '30 days'),
        (SELECT coalesce(array_agg(DISTINCT note.action ORDER BY note.action), '{}') FROM (
            SELECT value #>> '{}' AS action FROM workflow_data_store
                WHERE namespace = '_missing_action' AND expires_at > clock_timestamp() LIMIT 100) AS note)
$$;
"""
# pgtrigger's own function lets every session switch triggers off with the setting `pgtrigger.ignore`. Each AddTrigger
# creates the function again, so a later migration with an AddTrigger must end with this statement, too.
TRIGGERS_ARE_NEVER_IGNORED = """
CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name NAME) RETURNS BOOLEAN
    LANGUAGE sql IMMUTABLE AS 'SELECT false';
"""

def trigger(model_name, name, **sql):
    return AddTrigger(model_name=model_name, trigger=Trigger(name=name, sql=UpsertTriggerSql(when="BEFORE", **sql)))


def projection_guard(model_name, table, pgid, digest):
    return trigger(
        model_name,
        "projection_guard",
        func=PROJECTION_GUARD,
        level="STATEMENT",
        operation="INSERT OR UPDATE OR DELETE OR TRUNCATE",
        table=table,
        pgid=pgid,
        hash=digest,
    )


def no_truncate(model_name, table, pgid, digest):
    return trigger(
        model_name,
        "no_truncate",
        func=NO_TRUNCATE,
        level="STATEMENT",
        operation="TRUNCATE",
        table=table,
        pgid=pgid,
        hash=digest,
    )


class Migration(migrations.Migration):
    dependencies = [("workflows", "0001_tables")]

    operations = [
        migrations.RunSQL(migrations.RunSQL.noop, DROP_TRIGGER_FUNCTIONS),
        projection_guard(
            "run", "workflow_runs", "pgtrigger_projection_guard_3b7a4", "222deed77ff6c4739102eb01e1413754b1575be8"
        ),
        projection_guard(
            "runstep",
            "workflow_run_steps",
            "pgtrigger_projection_guard_dedfa",
            "8aa64c668d345b4cc1c4563b1fa1455df22f1252",
        ),
        projection_guard(
            "runwait",
            "workflow_run_waits",
            "pgtrigger_projection_guard_b05b3",
            "f55855260d24394163b9dd4ef0e6b90231a7c649",
        ),
        trigger(
            "definitionversion",
            "immutable",
            func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
            operation="UPDATE",
            table="workflow_definition_versions",
            pgid="pgtrigger_immutable_0e58b",
            hash="f1bccf577b1bbc2b804235f255802553548ed124",
        ),
        trigger(
            "command",
            "append_only",
            condition=NOT_PRUNING,
            func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;",
            operation="DELETE",
            table="workflow_commands",
            pgid="pgtrigger_append_only_5d7a9",
            hash="cf6b0a2fcf643fee4f1860038eb8b5472344617c",
        ),
        no_truncate(
            "command",
            "workflow_commands",
            "pgtrigger_no_truncate_85114",
            "c0bd0f3744aff4da6ed8e649cf18b40c3efbe640",
        ),
        trigger(
            "command",
            "request_is_fixed",
            condition=f"WHEN ({REQUEST_CHANGES})",
            func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
            operation="UPDATE",
            table="workflow_commands",
            pgid="pgtrigger_request_is_fixed_3b807",
            hash="c82b4171fa3bbee82dafada58c36d2d8494cd462",
        ),
        trigger(
            "command",
            "state_moves_forward",
            declare="DECLARE _is_valid_transition BOOLEAN;",
            func=STATE_MOVES_FORWARD,
            operation="UPDATE",
            table="workflow_commands",
            pgid="pgtrigger_state_moves_forward_e844d",
            hash="3cf976d296b83abb07a7c74886315da351dac67f",
        ),
        trigger(
            "commandentry",
            "append_only",
            func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
            operation="UPDATE",
            table="workflow_command_entries",
            pgid="pgtrigger_append_only_975bc",
            hash="5a5e9edb70f90ca40dca0789207d1524605af78d",
        ),
        trigger(
            "commandentry",
            "only_a_prefix",
            condition=NOT_PRUNING,
            func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;",
            operation="DELETE",
            table="workflow_command_entries",
            pgid="pgtrigger_only_a_prefix_6952b",
            hash="ef5807d2187d7cd48d07028117b006f00257b6d5",
        ),
        no_truncate(
            "commandentry",
            "workflow_command_entries",
            "pgtrigger_no_truncate_95580",
            "4787cc487a446a7a41962b4e774747d90a7c4bc3",
        ),
        trigger(
            "signinrecord",
            "append_only",
            func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;",
            operation="UPDATE",
            table="sign_in_records",
            pgid="pgtrigger_append_only_2ea3a",
            hash="7214a451d3943c3656d499b81b1be19289a8f001",
        ),
        trigger(
            "signinrecord",
            "only_old",
            condition=NOT_PRUNING,
            func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;",
            operation="DELETE",
            table="sign_in_records",
            pgid="pgtrigger_only_old_9333a",
            hash="cbf10325d7455c3b3f8efe2fd825e493591a5a6e",
        ),
        no_truncate(
            "signinrecord",
            "sign_in_records",
            "pgtrigger_no_truncate_70312",
            "628ed05f5cbfb35b816df5b9f6bcf32649fad726",
        ),
        migrations.RunSQL(AUDIT_CHAIN, DROP_AUDIT_CHAIN),
        migrations.RunSQL(LEDGER_PRUNE, DROP_LEDGER_PRUNE),
        migrations.RunSQL(PROBLEM_COUNTS, "DROP FUNCTION workflow_problem_counts(text[])"),
        migrations.RunSQL(SIGN_IN_PRUNE, DROP_SIGN_IN_PRUNE),
        migrations.RunSQL(TRIGGERS_ARE_NEVER_IGNORED, migrations.RunSQL.noop),
        # Sign-in compares names without case. Of two accounts `Maya` and `maya`, neither could sign in.
        migrations.RunSQL(
            "CREATE UNIQUE INDEX auth_user_one_per_name ON auth_user (upper(username))",
            "DROP INDEX auth_user_one_per_name",
        ),
        # Without it, PostgreSQL assumes that each tenant has the same share of open runs. For a tenant without open
        # runs, it then reads all runs instead of an index of the status.
        migrations.RunSQL(
            "CREATE STATISTICS workflow_runs_tenant_status (mcv) ON tenant_id, status FROM workflow_runs",
            "DROP STATISTICS workflow_runs_tenant_status",
        ),
    ]
