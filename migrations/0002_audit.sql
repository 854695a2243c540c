-- The audit trail, and the trigger that writes it for every path there is.
CREATE TABLE tenantry.audit_logs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('user', 'service', 'system')),
    user_id uuid,
    service_name text,
    action text NOT NULL CHECK (action IN ('insert', 'update', 'delete')),
    resource_type text NOT NULL,
    resource_id uuid,
    old_values jsonb NOT NULL,
    new_values jsonb NOT NULL,
    ip_address inet,
    user_agent text,
    session_id text,
    request_id text,
    reason text,
    database_user text NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX audit_logs_resource ON tenantry.audit_logs (tenant_id, resource_type, resource_id, id);
CREATE INDEX audit_logs_user ON tenantry.audit_logs (tenant_id, user_id, id);

ALTER TABLE tenantry.audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audit_logs FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.audit_logs OWNER TO tenantry_audit;
-- The trigger's function runs as the owner, for whichever tenant's row was changed.
CREATE POLICY write_by_trigger ON tenantry.audit_logs FOR INSERT TO tenantry_audit WITH CHECK (true);
CREATE POLICY tenant_isolation ON tenantry.audit_logs FOR SELECT TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id());
CREATE POLICY platform_read ON tenantry.audit_logs FOR SELECT TO tenantry_platform USING (true);
GRANT SELECT ON tenantry.audit_logs TO tenantry_tenant, tenantry_platform;

-- The keys of JSON documents whose values are kept only as hashes. The list of the library.
CREATE FUNCTION tenantry.is_secret_key(key text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(key) = ANY (ARRAY[
    'access_token', 'api_key', 'api-key', 'apikey', 'authorization', 'client_secret', 'cookie',
    'credential', 'credentials', 'password', 'private_key', 'refresh_token', 'secret',
    'set-cookie', 'token', 'x-api-key']);

CREATE FUNCTION tenantry.secret_hash(value jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_jsonb('sha256:' || encode(sha256(convert_to(
    CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}' ELSE value::text END,
    'UTF8')), 'hex'));

-- Replaces the value of every secret key, at any depth, by its hash.
CREATE FUNCTION tenantry.hide_secrets(value jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE jsonb_typeof(value)
    WHEN 'object' THEN
        RETURN coalesce((
            SELECT jsonb_object_agg(e.key, CASE
                WHEN jsonb_typeof(e.value) = 'null' THEN e.value
                WHEN tenantry.is_secret_key(e.key) THEN tenantry.secret_hash(e.value)
                ELSE tenantry.hide_secrets(e.value) END)
            FROM jsonb_each(value) e), '{}');
    WHEN 'array' THEN
        RETURN coalesce((
            SELECT jsonb_agg(tenantry.hide_secrets(e.value) ORDER BY e.ordinality)
            FROM jsonb_array_elements(value) WITH ORDINALITY e), '[]');
    ELSE
        RETURN value;
    END CASE;
END
$$;

-- AFTER INSERT OR UPDATE OR DELETE, FOR EACH ROW.
-- First argument: the column that holds the tenant. Second: columns whose values are secrets.
CREATE FUNCTION tenantry.audit_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    unaudited CONSTANT text[] := ARRAY['revision', 'updated_at', 'tenant_id'];
    secret_columns CONSTANT text[] := string_to_array(coalesce(TG_ARGV[1], ''), ',');
    before jsonb := '{}';
    after jsonb := '{}';
    whole jsonb;
    old_values jsonb;
    new_values jsonb;
    unit jsonb := coalesce(tenantry.unit_context(), '{}');
    at timestamptz := coalesce((unit ->> 'at')::timestamptz, clock_timestamp());
BEGIN
    IF TG_OP <> 'INSERT' THEN
        before := to_jsonb(OLD);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        after := to_jsonb(NEW);
    END IF;
    whole := before || after;
    SELECT
        coalesce(jsonb_object_agg(k.key, k.old_value) FILTER (WHERE TG_OP <> 'INSERT'), '{}'),
        coalesce(jsonb_object_agg(k.key, k.new_value) FILTER (WHERE TG_OP <> 'DELETE'), '{}')
    INTO old_values, new_values
    FROM (
        SELECT e.key,
            CASE WHEN e.key = ANY (secret_columns) AND before ->> e.key IS NOT NULL
                THEN tenantry.secret_hash(before -> e.key)
                ELSE tenantry.hide_secrets(before -> e.key) END AS old_value,
            CASE WHEN e.key = ANY (secret_columns) AND after ->> e.key IS NOT NULL
                THEN tenantry.secret_hash(after -> e.key)
                ELSE tenantry.hide_secrets(after -> e.key) END AS new_value
        FROM jsonb_each(whole) e
        WHERE e.key <> ALL (unaudited)
            AND (TG_OP <> 'UPDATE' OR before -> e.key IS DISTINCT FROM after -> e.key)
    ) k;
    IF TG_OP = 'UPDATE' AND old_values = '{}' THEN
        RETURN NULL;
    END IF;
    INSERT INTO tenantry.audit_logs (
        tenant_id, id, actor_kind, user_id, service_name, action, resource_type, resource_id,
        old_values, new_values, ip_address, user_agent, session_id, request_id, reason,
        database_user, created_at)
    VALUES (
        (whole ->> TG_ARGV[0])::uuid,
        tenantry.id_of(at),
        coalesce(unit ->> 'kind', 'system'),
        (unit ->> 'user')::uuid,
        unit ->> 'service',
        lower(TG_OP), TG_TABLE_NAME, (whole ->> 'id')::uuid,
        old_values, new_values,
        (unit ->> 'ip')::inet, unit ->> 'user_agent', unit ->> 'session', unit ->> 'request',
        unit ->> 'reason',
        session_user, at);
    RETURN NULL;
END
$$;

-- A UUIDv7 of an instant: entries of one instant keep the order in which they were written.
CREATE SEQUENCE tenantry.audit_order AS bigint CYCLE MAXVALUE 1152921504606846975;
ALTER SEQUENCE tenantry.audit_order OWNER TO tenantry_audit;
CREATE FUNCTION tenantry.id_of(instant timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT (lpad(to_hex(floor(extract(epoch FROM instant) * 1000)::bigint), 12, '0')
        || '7' || substr(n.digits, 1, 3) || '8' || substr(n.digits, 4, 15))::uuid
    FROM (SELECT lpad(to_hex(nextval('tenantry.audit_order')), 18, '0') AS digits) n;
END;

ALTER FUNCTION tenantry.audit_row() OWNER TO tenantry_audit;
REVOKE ALL ON FUNCTION tenantry.audit_row() FROM PUBLIC;
REVOKE ALL ON FUNCTION tenantry.id_of(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.id_of(timestamptz) TO tenantry_audit;
