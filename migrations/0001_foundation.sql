-- Roles, the tenant of a unit of work, and the months that partition what grows without end.
--
-- A unit takes one of these roles with SET LOCAL ROLE, so that row-level security holds even when
-- the host connects as a superuser. Roles belong to the cluster: another database of the same
-- cluster may have created them, perhaps at this very moment.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tenantry_tenant', 'tenantry_platform', 'tenantry_audit'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END IF;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA tenantry TO tenantry_tenant, tenantry_platform;
-- The audit role owns its table and its trigger's function, and so must be able to create here.
GRANT USAGE, CREATE ON SCHEMA tenantry TO tenantry_audit;

-- The tenant of the present unit of work; NULL outside of one, which no row matches.
-- The setting is absent before the first unit of a session and '' after it.
CREATE FUNCTION tenantry.tenant_id() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('tenantry.tenant_id', true), '')::uuid;

-- Who acts, when, from where and why, as the unit of work gave it; NULL outside of one.
CREATE FUNCTION tenantry.unit_context() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
RETURN convert_from(
    decode(nullif(current_setting('tenantry.context', true), ''), 'hex'), 'UTF8')::jsonb;

-- The smallest UUIDv7 of an instant (RFC 9562): partitions are cut at these.
CREATE FUNCTION tenantry.id_floor(instant timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0')
    || repeat('0', 20))::uuid;

-- The months that exist. Rows outside of them are refused.
CREATE TABLE tenantry.months (
    month date PRIMARY KEY CHECK (extract(day FROM month) = 1)
);
GRANT SELECT ON tenantry.months TO tenantry_tenant, tenantry_platform;

-- Creates one partition for each table that grows without end and each month that is missing, and
-- answers how many months are new. The maintenance role may call it; it owns nothing itself.
--
-- A new partition is made beside its table and then attached: that waits for no reader, where
-- CREATE TABLE ... PARTITION OF would. It gets the table's policies by going through the table
-- only: no role has a grant on a partition, and row-level security without a policy refuses all.
CREATE FUNCTION tenantry.ensure_months(first_month date, last_month date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    parent record;
    present date;
    part text;
    created integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('tenantry.ensure_months', 0));
    FOR present IN
        SELECT generate_series(
            date_trunc('month', first_month::timestamp),
            date_trunc('month', last_month::timestamp),
            interval '1 month')::date
    LOOP
        FOR parent IN
            SELECT c.relname AS name, c.relowner::regrole AS owner
            FROM pg_partitioned_table p
            JOIN pg_class c ON c.oid = p.partrelid
            WHERE c.relnamespace = 'tenantry'::regnamespace
            ORDER BY c.relname
        LOOP
            part := format('%s_y%sm%s', parent.name, to_char(present, 'YYYY'), to_char(present, 'MM'));
            CONTINUE WHEN to_regclass(format('tenantry.%I', part)) IS NOT NULL;
            EXECUTE format('CREATE TABLE tenantry.%I (LIKE tenantry.%I INCLUDING ALL)', part, parent.name);
            EXECUTE format('ALTER TABLE tenantry.%I ENABLE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE tenantry.%I FORCE ROW LEVEL SECURITY', part);
            EXECUTE format('ALTER TABLE tenantry.%I OWNER TO %s', part, parent.owner);
            EXECUTE format(
                'ALTER TABLE tenantry.%I ATTACH PARTITION tenantry.%I FOR VALUES FROM (%L) TO (%L)',
                parent.name, part,
                tenantry.id_floor(present::timestamptz),
                tenantry.id_floor((present + interval '1 month')::timestamptz));
        END LOOP;
        INSERT INTO tenantry.months (month) VALUES (present) ON CONFLICT DO NOTHING;
        IF FOUND THEN
            created := created + 1;
        END IF;
    END LOOP;
    RETURN created;
END
$$;
REVOKE ALL ON FUNCTION tenantry.ensure_months(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.ensure_months(date, date) TO tenantry_platform;

-- The library tells its host which migrations are applied.
GRANT SELECT ON tenantry.schema_migrations TO tenantry_tenant, tenantry_platform;
