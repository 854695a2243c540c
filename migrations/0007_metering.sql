-- Usage, the meters that tenants define, and unique keys that hold within a month.

-- A partitioned table can only have a unique key that holds its partition key. These are unique
-- keys of each month for itself: they are made with the month.
CREATE TABLE tenantry.month_keys (
    parent text NOT NULL,
    suffix text NOT NULL,
    -- Columns and condition, as after CREATE UNIQUE INDEX … ON table.
    definition text NOT NULL,
    PRIMARY KEY (parent, suffix)
);

-- As it was, and with the unique keys of the month.
CREATE OR REPLACE FUNCTION tenantry.ensure_months(first_month date, last_month date)
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    parent record;
    key record;
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
            FOR key IN
                SELECT k.suffix, k.definition FROM tenantry.month_keys k
                WHERE k.parent = parent.name ORDER BY k.suffix
            LOOP
                EXECUTE format('CREATE UNIQUE INDEX %I ON tenantry.%I %s',
                    part || '_' || key.suffix, part, key.definition);
            END LOOP;
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

-- The meters that a tenant defined; those that every tenant has need no row. How a meter
-- aggregates is never changed.
CREATE TABLE tenantry.meters (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (char_length(name) BETWEEN 1 AND 50),
    aggregation text NOT NULL CHECK (aggregation IN
        ('sum', 'count', 'max', 'latest', 'unique_count', 'time_weighted_sum', 'level')),
    unit text CHECK (char_length(unit) BETWEEN 1 AND 255),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT meters_name UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.meters ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.meters FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.meters TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, UPDATE (unit, updated_at, revision) ON tenantry.meters TO tenantry_tenant;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.meters
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

-- Usage. A record is never changed; the sum of the quantities is right at any time, since a record
-- that voids another one has its negated quantity and its instant.
--
-- The id carries occurred_at, so the primary key serves every read by time. The foreign key of
-- subscription_id comes with the subscriptions.
CREATE TABLE tenantry.usage_records (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    subscription_id uuid,
    usage_type text COLLATE "C" NOT NULL CHECK (char_length(usage_type) BETWEEN 1 AND 50),
    quantity numeric(28, 12) NOT NULL,
    unit_price numeric(28, 12) CHECK (unit_price >= 0),
    unique_value text COLLATE "C" CHECK (char_length(unique_value) BETWEEN 1 AND 255),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end >= period_start),
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    -- COLLATE "C": keys are only compared for equality, and bytes are compared fastest.
    usage_key text COLLATE "C" CHECK (char_length(usage_key) BETWEEN 1 AND 255),
    corrects uuid,
    voids boolean NOT NULL DEFAULT false CHECK (corrects IS NOT NULL OR NOT voids),
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
-- Corrections are few, so this costs an insert nothing.
CREATE INDEX usage_records_corrects ON tenantry.usage_records (tenant_id, corrects, id)
    WHERE corrects IS NOT NULL;
INSERT INTO tenantry.month_keys VALUES
    ('usage_records', 'usage_key', '(tenant_id, usage_key) WHERE usage_key IS NOT NULL');

ALTER TABLE tenantry.usage_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.usage_records FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.usage_records TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT ON tenantry.usage_records TO tenantry_tenant;
