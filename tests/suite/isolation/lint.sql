-- One row per hole in the isolation of tenants, for the schema $1; no row on a sound schema.
--
-- A tenant table has a column tenant_id, or is the table of tenants itself.
WITH tables AS (
    SELECT c.oid, c.relname::text AS name, c.relkind, c.relrowsecurity, c.relforcerowsecurity,
        c.relowner, c.relacl, c.relispartition,
        CASE c.relname WHEN 'tenants' THEN 'id' ELSE 'tenant_id' END AS key
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
), tenant_tables AS (
    SELECT t.*, a.attnum AS key_number, a.attnotnull AS key_not_null
    FROM tables t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = t.key AND NOT a.attisdropped
), policies AS (
    SELECT p.*, t.name, t.key,
        pg_get_expr(p.polqual, p.polrelid) AS visible,
        pg_get_expr(p.polwithcheck, p.polrelid) AS writable
    FROM pg_policy p
    JOIN tables t ON t.oid = p.polrelid
), functions AS (
    SELECT p.* FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $1
)
SELECT 'row-level security is not enabled' AS hole, name AS place
FROM tenant_tables WHERE NOT relrowsecurity
UNION ALL
SELECT 'row-level security is not forced on the owner', name
FROM tenant_tables WHERE NOT relforcerowsecurity
UNION ALL
SELECT 'there are policies, but row-level security is off', p.name || '.' || p.polname
FROM policies p JOIN tables t ON t.oid = p.polrelid WHERE NOT t.relrowsecurity
UNION ALL
SELECT 'the tenant may be null', name FROM tenant_tables WHERE NOT key_not_null
UNION ALL
SELECT 'it refers to a tenant table and has no tenant', t.name || '.' || k.conname
FROM tables t
JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
JOIN tenant_tables parent ON parent.oid = k.confrelid
WHERE NOT EXISTS (SELECT FROM tenant_tables own WHERE own.oid = t.oid)
UNION ALL
SELECT 'a reference to a tenant table leaves the tenant out', t.name || '.' || k.conname
FROM tenant_tables t
JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
JOIN tenant_tables parent ON parent.oid = k.confrelid
WHERE NOT parent.key_number = ANY (k.confkey) OR NOT t.key_number = ANY (k.conkey)
UNION ALL
SELECT 'a reference changes or removes rows by itself', t.name || '.' || k.conname
FROM tables t
JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'f'
WHERE k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd')
UNION ALL
SELECT 'a key spans tenants', t.name || '.' || i.relname
FROM tenant_tables t
JOIN pg_index x ON x.indrelid = t.oid AND x.indisunique
JOIN pg_class i ON i.oid = x.indexrelid
WHERE NOT t.key_number = ANY (x.indkey::smallint[])
UNION ALL
SELECT 'an exclusion constraint tells of other rows', t.name || '.' || k.conname
FROM tenant_tables t
JOIN pg_constraint k ON k.conrelid = t.oid AND k.contype = 'x'
UNION ALL
SELECT 'an index is of no use under row-level security', t.name || '.' || i.relname
FROM tenant_tables t
JOIN pg_index x ON x.indrelid = t.oid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
WHERE m.amname IN ('gin', 'gist') OR x.indexprs IS NOT NULL
UNION ALL
SELECT 'a view runs with its owner''s rights', c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'v'
    AND NOT coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
UNION ALL
SELECT 'a materialized view has no policies', c.relname::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'm'
    AND EXISTS (SELECT FROM aclexplode(c.relacl) g WHERE g.grantee <> c.relowner)
UNION ALL
SELECT 'a partition can be reached past its table', t.name
FROM tables t
WHERE t.relispartition
    AND EXISTS (SELECT FROM aclexplode(t.relacl) g WHERE g.grantee <> t.relowner)
UNION ALL
SELECT 'a policy lets every row through', p.name || '.' || p.polname
FROM policies p
WHERE (p.visible = 'true' OR p.writable = 'true')
    AND p.polroles <> ARRAY(SELECT oid FROM pg_roles WHERE rolname = 'tenantry_platform')
UNION ALL
SELECT 'a tenant''s policy asks for something else than the tenant', p.name || '.' || p.polname
FROM policies p
JOIN tenant_tables t ON t.oid = p.polrelid
WHERE (SELECT oid FROM pg_roles WHERE rolname = 'tenantry_tenant') = ANY (p.polroles)
    AND EXISTS (
        SELECT FROM unnest(ARRAY[p.visible, p.writable]) e (condition)
        WHERE condition <> format('(%s = tenantry.tenant_id())', p.key))
UNION ALL
SELECT 'a policy is for everybody', p.name || '.' || p.polname
FROM policies p WHERE 0 = ANY (p.polroles)
UNION ALL
SELECT 'a tenant can reach a table without policies', t.name
FROM tables t
WHERE NOT t.relrowsecurity
    AND has_table_privilege('tenantry_tenant', t.oid, 'SELECT, INSERT, UPDATE, DELETE')
UNION ALL
SELECT 'a tenant may truncate', t.name
FROM tables t WHERE has_table_privilege('tenantry_tenant', t.oid, 'TRUNCATE')
UNION ALL
SELECT 'a function with its owner''s rights trusts the search path', f.proname::text
FROM functions f
WHERE f.prosecdef
    AND NOT EXISTS (SELECT FROM unnest(f.proconfig) s WHERE s LIKE 'search_path=%')
UNION ALL
SELECT 'everybody may call a function with its owner''s rights', f.proname::text
FROM functions f
WHERE f.prosecdef AND (f.proacl IS NULL OR EXISTS (
    SELECT FROM aclexplode(f.proacl) g WHERE g.grantee = 0 AND g.privilege_type = 'EXECUTE'))
UNION ALL
SELECT 'a role of units can log in, bypasses policies or owns something', r.rolname::text
FROM pg_roles r
WHERE r.rolname IN ('tenantry_tenant', 'tenantry_platform')
    AND (r.rolcanlogin OR r.rolbypassrls OR r.rolsuper
        OR EXISTS (SELECT FROM tables t WHERE t.relowner = r.oid))
ORDER BY 1, 2
