-- What is sold: plans in immutable versions, and the price book. They belong to no tenant: every
-- tenant may read them, the operator writes them.

-- The trail of what belongs to no tenant.
CREATE TABLE tenantry.platform_audit_logs (
    id uuid PRIMARY KEY,
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
    created_at timestamptz NOT NULL
);
CREATE INDEX platform_audit_logs_resource
    ON tenantry.platform_audit_logs (resource_type, resource_id, id);
ALTER TABLE tenantry.platform_audit_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.platform_audit_logs FORCE ROW LEVEL SECURITY;
ALTER TABLE tenantry.platform_audit_logs OWNER TO tenantry_audit;
CREATE POLICY write_by_trigger ON tenantry.platform_audit_logs
    FOR INSERT TO tenantry_audit WITH CHECK (true);
CREATE POLICY platform_read ON tenantry.platform_audit_logs
    FOR SELECT TO tenantry_platform USING (true);
GRANT SELECT ON tenantry.platform_audit_logs TO tenantry_platform;

-- AFTER INSERT OR UPDATE OR DELETE, FOR EACH ROW, on what belongs to no tenant.
CREATE FUNCTION tenantry.audit_platform_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    unaudited CONSTANT text[] := ARRAY['revision', 'updated_at'];
    before jsonb := '{}';
    after jsonb := '{}';
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
    SELECT
        coalesce(jsonb_object_agg(e.key, before -> e.key) FILTER (WHERE TG_OP <> 'INSERT'), '{}'),
        coalesce(jsonb_object_agg(e.key, after -> e.key) FILTER (WHERE TG_OP <> 'DELETE'), '{}')
    INTO old_values, new_values
    FROM jsonb_each(before || after) e
    WHERE e.key <> ALL (unaudited)
        AND (TG_OP <> 'UPDATE' OR before -> e.key IS DISTINCT FROM after -> e.key);
    IF TG_OP = 'UPDATE' AND old_values = '{}' THEN
        RETURN NULL;
    END IF;
    INSERT INTO tenantry.platform_audit_logs (
        id, actor_kind, user_id, service_name, action, resource_type, resource_id,
        old_values, new_values, ip_address, user_agent, session_id, request_id, reason,
        database_user, created_at)
    VALUES (
        tenantry.id_of(at),
        coalesce(unit ->> 'kind', 'system'), (unit ->> 'user')::uuid, unit ->> 'service',
        lower(TG_OP), TG_TABLE_NAME, ((before || after) ->> 'id')::uuid,
        old_values, new_values,
        (unit ->> 'ip')::inet, unit ->> 'user_agent', unit ->> 'session', unit ->> 'request',
        unit ->> 'reason',
        session_user, at);
    RETURN NULL;
END
$$;
ALTER FUNCTION tenantry.audit_platform_row() OWNER TO tenantry_audit;
REVOKE ALL ON FUNCTION tenantry.audit_platform_row() FROM PUBLIC;

CREATE TABLE tenantry.plans (
    id uuid PRIMARY KEY,
    code text COLLATE "C" NOT NULL CHECK (char_length(code) BETWEEN 1 AND 100),
    active boolean NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    CONSTRAINT plans_code UNIQUE (code)
);
GRANT SELECT ON tenantry.plans TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE (active, version, updated_at, revision)
    ON tenantry.plans TO tenantry_platform;

-- No role may change or delete a version, nor its charges: that it was published is all there is to
-- audit.
CREATE TABLE tenantry.plan_versions (
    id uuid PRIMARY KEY,
    plan_id uuid NOT NULL REFERENCES tenantry.plans (id),
    version integer NOT NULL CHECK (version > 0),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    billing_interval text NOT NULL CHECK (billing_interval IN ('day', 'week', 'month', 'year')),
    interval_count integer NOT NULL CHECK (interval_count BETWEEN 1 AND 1000),
    trial_days integer NOT NULL CHECK (trial_days BETWEEN 0 AND 730),
    limits jsonb NOT NULL CHECK (jsonb_typeof(limits) = 'object'),
    entitlements text[] NOT NULL,
    retention_days integer CHECK (retention_days BETWEEN 1 AND 36500),
    created_at timestamptz NOT NULL,
    CONSTRAINT plan_versions_number UNIQUE (plan_id, version)
);
GRANT SELECT ON tenantry.plan_versions TO tenantry_tenant;
GRANT SELECT, INSERT ON tenantry.plan_versions TO tenantry_platform;

CREATE TABLE tenantry.plan_charges (
    plan_version_id uuid NOT NULL REFERENCES tenantry.plan_versions (id),
    code text COLLATE "C" NOT NULL CHECK (char_length(code) BETWEEN 1 AND 64),
    position integer NOT NULL CHECK (position >= 0),
    name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
    kind text NOT NULL CHECK (kind IN ('recurring', 'usage', 'one_time')),
    per_seat boolean NOT NULL CHECK (NOT per_seat OR kind = 'recurring'),
    meter text COLLATE "C" CHECK (char_length(meter) BETWEEN 1 AND 50),
    included numeric(28, 12) NOT NULL CHECK (included >= 0 AND (included = 0 OR kind = 'usage')),
    PRIMARY KEY (plan_version_id, code),
    CONSTRAINT plan_charges_position UNIQUE (plan_version_id, position),
    CONSTRAINT plan_charges_meter CHECK ((meter IS NOT NULL) = (kind = 'usage'))
);
GRANT SELECT ON tenantry.plan_charges TO tenantry_tenant;
GRANT SELECT, INSERT ON tenantry.plan_charges TO tenantry_platform;

-- Ranges of texts, so that an exclusion constraint can ask for equal keys: the operator classes for
-- plain columns are in the extension btree_gist, which not every host can install.
CREATE TYPE tenantry.text_range AS RANGE (subtype = text, collation = "C");

CREATE TABLE tenantry.price_book (
    id uuid PRIMARY KEY,
    plan_version_id uuid NOT NULL,
    charge text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    model jsonb NOT NULL CHECK (jsonb_typeof(model) = 'object'),
    minimum bigint CHECK (minimum >= 0),
    maximum bigint CHECK (maximum >= 0),
    stripe_price_id text COLLATE "C" CHECK (char_length(stripe_price_id) BETWEEN 1 AND 255),
    active boolean NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz CHECK (valid_to > valid_from),
    created_at timestamptz NOT NULL,
    CHECK (minimum <= maximum),
    CONSTRAINT price_book_charge FOREIGN KEY (plan_version_id, charge)
        REFERENCES tenantry.plan_charges (plan_version_id, code),
    -- Two versions of a plan can share a price at Stripe; within one it is one price.
    CONSTRAINT price_book_stripe_price UNIQUE (plan_version_id, stripe_price_id),
    -- Of a charge in a currency, one price at any instant.
    CONSTRAINT price_book_one_at_a_time EXCLUDE USING gist (
        tenantry.text_range(
            plan_version_id::text || ' ' || charge || ' ' || currency,
            plan_version_id::text || ' ' || charge || ' ' || currency, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&)
);
CREATE INDEX price_book_of_version ON tenantry.price_book (plan_version_id, charge, currency);
GRANT SELECT ON tenantry.price_book TO tenantry_tenant;
-- What a price is stays as it was written.
GRANT SELECT, INSERT, UPDATE (stripe_price_id, active, valid_to)
    ON tenantry.price_book TO tenantry_platform;

-- Prices of one tenant's own. The tenant may read them; the operator writes them.
CREATE TABLE tenantry.price_overrides (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    plan_code text COLLATE "C" NOT NULL REFERENCES tenantry.plans (code),
    charge text COLLATE "C" NOT NULL CHECK (char_length(charge) BETWEEN 1 AND 64),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    model jsonb NOT NULL CHECK (jsonb_typeof(model) = 'object'),
    minimum bigint CHECK (minimum >= 0),
    maximum bigint CHECK (maximum >= 0),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz CHECK (valid_to > valid_from),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CHECK (minimum <= maximum),
    CONSTRAINT price_overrides_one_at_a_time EXCLUDE USING gist (
        tenantry.text_range(
            tenant_id::text || ' ' || charge || ' ' || currency || ' ' || plan_code,
            tenant_id::text || ' ' || charge || ' ' || currency || ' ' || plan_code, '[]') WITH &&,
        tstzrange(valid_from, valid_to) WITH &&)
);
ALTER TABLE tenantry.price_overrides ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.price_overrides FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.price_overrides TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.price_overrides TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT ON tenantry.price_overrides TO tenantry_tenant;
GRANT SELECT, INSERT, UPDATE (valid_to) ON tenantry.price_overrides TO tenantry_platform;

CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.plans
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_platform_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.plan_versions
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_platform_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.price_book
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_platform_row();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.price_overrides
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');
