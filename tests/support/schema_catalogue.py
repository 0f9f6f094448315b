"""Schema objects of a database, read from PostgreSQL's catalogue, to compare the results of migrations."""

from typing import Any

# Columns are compared by name. Their order shows only the order in which they were added.
CATALOGUE: dict[str, str] = {
    "relations": "SELECT relname, relkind::text, relpersistence::text, relrowsecurity, relforcerowsecurity"
    " FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "columns": "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,"
    " a.attgenerated::text, a.attcollation::regcollation::text, pg_get_expr(d.adbin, d.adrelid)"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid"
    " AND d.adnum = a.attnum WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p')"
    " AND a.attnum > 0 AND NOT a.attisdropped",
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger"
    " WHERE NOT tgisinternal",
    "functions": "SELECT proname, pg_get_function_identity_arguments(oid), pg_get_functiondef(oid) FROM pg_proc"
    " WHERE pronamespace = 'public'::regnamespace",
    "types": "SELECT typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace",
    "policies": "SELECT tablename, policyname, permissive, roles::text, cmd, qual, with_check FROM pg_policies"
    " WHERE schemaname = 'public'",
    "grants on relations": "SELECT c.relname, g.grantee::regrole::text, g.privilege_type, g.is_grantable FROM"
    " pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = 'public'::regnamespace AND g.grantee <> c.relowner",
    "grants on functions": "SELECT p.proname, g.grantee::text, g.privilege_type FROM pg_proc p, aclexplode(p.proacl) g"
    " WHERE p.pronamespace = 'public'::regnamespace AND g.grantee <> p.proowner",
    "grants on the schema": "SELECT g.grantee::text, g.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) g"
    " WHERE n.nspname = 'public'",
    "default grants": "SELECT d.defaclobjtype::text, g.grantee::regrole::text, g.privilege_type FROM pg_default_acl d,"
    " aclexplode(d.defaclacl) g WHERE g.grantee <> d.defaclrole",
    "extensions": "SELECT extname FROM pg_extension",
}


def schema_catalogue(cursor: Any) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of each part of the catalogue, sorted, for comparison with another database."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for part, query in CATALOGUE.items():
        cursor.execute(query)
        found[part] = sorted(cursor.fetchall(), key=repr)
    return found


def catalogue_differences(
    before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]]
) -> list[str]:
    """Return one line for each row that only one of the two catalogues has."""
    lines: list[str] = []
    for part in CATALOGUE:
        lines += [f"{part}: - {row}" for row in before[part] if row not in after[part]]
        lines += [f"{part}: + {row}" for row in after[part] if row not in before[part]]
    return lines
