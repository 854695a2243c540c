-- Subscriptions, the periods they went through, and what waits for their next invoice.

CREATE TABLE tenantry.subscriptions (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    plan_version_id uuid NOT NULL REFERENCES tenantry.plan_versions (id),
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    status text NOT NULL CHECK (status IN ('incomplete', 'incomplete_expired', 'trialing', 'active',
        'past_due', 'unpaid', 'paused', 'canceled')),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    -- The cycle: every boundary is counted from the anchor.
    anchor timestamptz NOT NULL,
    anchor_day integer CHECK (anchor_day BETWEEN 1 AND 31),
    time_zone text NOT NULL,
    billing_interval text NOT NULL CHECK (billing_interval IN ('day', 'week', 'month', 'year')),
    interval_count integer NOT NULL CHECK (interval_count BETWEEN 1 AND 1000),
    started_at timestamptz NOT NULL,
    current_period_start timestamptz NOT NULL,
    current_period_end timestamptz NOT NULL,
    priced_at timestamptz NOT NULL,
    trial_end timestamptz,
    cancel_at_period_end boolean NOT NULL,
    cancel_at timestamptz,
    canceled_at timestamptz,
    ended_at timestamptz,
    paused_at timestamptz,
    resumes_at timestamptz,
    pending_plan_version_id uuid REFERENCES tenantry.plan_versions (id),
    pending_interval text CHECK (pending_interval IN ('day', 'week', 'month', 'year')),
    pending_interval_count integer CHECK (pending_interval_count BETWEEN 1 AND 1000),
    pending_quantity integer CHECK (pending_quantity BETWEEN 1 AND 1000000),
    coupons jsonb NOT NULL CHECK (jsonb_typeof(coupons) = 'array'),
    -- Written by the operator only: that they are unique is kept in stripe_objects.
    stripe_subscription_id text COLLATE "C"
        CHECK (char_length(stripe_subscription_id) BETWEEN 1 AND 255),
    stripe_customer_id text COLLATE "C" CHECK (char_length(stripe_customer_id) BETWEEN 1 AND 255),
    metadata jsonb NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    -- When something happens by itself; computed by the library from the columns above.
    due_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT subscriptions_period CHECK (current_period_start < current_period_end),
    CONSTRAINT subscriptions_ended
        CHECK ((status IN ('canceled', 'incomplete_expired')) = (ended_at IS NOT NULL)),
    CONSTRAINT subscriptions_canceled
        CHECK (canceled_at IS NOT NULL OR NOT cancel_at_period_end AND cancel_at IS NULL
            AND ended_at IS NULL),
    CONSTRAINT subscriptions_one_end CHECK (cancel_at IS NULL OR NOT cancel_at_period_end),
    CONSTRAINT subscriptions_paused CHECK ((status = 'paused') = (paused_at IS NOT NULL)),
    CONSTRAINT subscriptions_resumes CHECK (resumes_at IS NULL OR resumes_at > paused_at),
    CONSTRAINT subscriptions_trial CHECK (status <> 'trialing' OR trial_end = current_period_end),
    CONSTRAINT subscriptions_pending CHECK (
        (pending_plan_version_id IS NULL) = (pending_interval IS NULL)
        AND (pending_interval IS NULL) = (pending_interval_count IS NULL)
        AND (ended_at IS NULL OR pending_plan_version_id IS NULL AND pending_quantity IS NULL)),
    CONSTRAINT subscriptions_due CHECK (CASE
        WHEN ended_at IS NOT NULL THEN due_at IS NULL
        ELSE status = 'paused' OR due_at IS NOT NULL END)
);
-- What is due is looked for across tenants, by the operator's jobs only.
CREATE INDEX subscriptions_by_due ON tenantry.subscriptions (due_at, tenant_id, id)
    WHERE due_at IS NOT NULL;
ALTER TABLE tenantry.subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.subscriptions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.subscriptions TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.subscriptions TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT,
    INSERT (tenant_id, id, plan_version_id, currency, status, quantity, anchor, anchor_day,
        time_zone, billing_interval, interval_count, started_at, current_period_start,
        current_period_end, priced_at, trial_end, cancel_at_period_end, cancel_at, canceled_at,
        ended_at, paused_at, resumes_at, pending_plan_version_id, pending_interval,
        pending_interval_count, pending_quantity, coupons, metadata, due_at, created_at, updated_at,
        revision),
    UPDATE (plan_version_id, status, quantity, anchor, anchor_day, billing_interval, interval_count,
        current_period_start, current_period_end, priced_at, trial_end, cancel_at_period_end,
        cancel_at, canceled_at, ended_at, paused_at, resumes_at, pending_plan_version_id,
        pending_interval, pending_interval_count, pending_quantity, coupons, metadata, due_at,
        updated_at, revision)
    ON tenantry.subscriptions TO tenantry_tenant;
GRANT SELECT, UPDATE (stripe_subscription_id, stripe_customer_id, updated_at, revision)
    ON tenantry.subscriptions TO tenantry_platform;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.subscriptions
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

-- Every period that began, with what it began with. A period is never removed; it is written again
-- only where the subscription changes at its very start.
CREATE TABLE tenantry.subscription_periods (
    tenant_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    whole_start timestamptz NOT NULL,
    whole_end timestamptz NOT NULL,
    plan_version_id uuid NOT NULL REFERENCES tenantry.plan_versions (id),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    trial boolean NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, period_start),
    CONSTRAINT subscription_periods_subscription FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES tenantry.subscriptions (tenant_id, id),
    CONSTRAINT subscription_periods_period CHECK (whole_start <= period_start
        AND period_start < period_end AND period_end <= whole_end)
);
ALTER TABLE tenantry.subscription_periods ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.subscription_periods FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.subscription_periods TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, UPDATE (period_end, whole_start, whole_end, plan_version_id, quantity, trial)
    ON tenantry.subscription_periods TO tenantry_tenant;

-- Credits and charges for the rest of a period. The key has the subscription's revision that was
-- changed, so the same change twice bills once. Never changed: a line is all there is to audit.
CREATE TABLE tenantry.pending_lines (
    tenant_id uuid NOT NULL,
    subscription_id uuid NOT NULL,
    change bigint NOT NULL CHECK (change > 0),
    charge text COLLATE "C" NOT NULL CHECK (char_length(charge) BETWEEN 1 AND 64),
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('credit', 'charge')),
    amount bigint NOT NULL,
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    plan_version_id uuid NOT NULL,
    -- The price as it was.
    price jsonb NOT NULL CHECK (jsonb_typeof(price) = 'object'),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, subscription_id, change, charge, kind),
    CONSTRAINT pending_lines_subscription FOREIGN KEY (tenant_id, subscription_id)
        REFERENCES tenantry.subscriptions (tenant_id, id),
    CONSTRAINT pending_lines_charge FOREIGN KEY (plan_version_id, charge)
        REFERENCES tenantry.plan_charges (plan_version_id, code),
    CONSTRAINT pending_lines_amount CHECK (CASE kind WHEN 'credit' THEN amount < 0 ELSE amount > 0 END),
    CONSTRAINT pending_lines_period CHECK (period_start < period_end)
);
ALTER TABLE tenantry.pending_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.pending_lines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.pending_lines TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT ON tenantry.pending_lines TO tenantry_tenant;

-- What Stripe's ids stand for. They are unique across tenants, so they are claimed in a table that
-- no tenant can read: a key on the tenants' own table would tell one tenant of another's id.
CREATE TABLE tenantry.stripe_objects (
    kind text COLLATE "C" NOT NULL CHECK (kind IN ('customer', 'subscription')),
    stripe_id text COLLATE "C" NOT NULL CHECK (char_length(stripe_id) BETWEEN 1 AND 255),
    owner uuid NOT NULL REFERENCES tenantry.tenants (id),
    -- The subscription; a customer is the tenant itself.
    object_id uuid CHECK ((object_id IS NULL) = (kind = 'customer')),
    PRIMARY KEY (kind, stripe_id)
);
CREATE INDEX stripe_objects_owner ON tenantry.stripe_objects (owner, object_id);
GRANT SELECT, INSERT, DELETE ON tenantry.stripe_objects TO tenantry_platform;
