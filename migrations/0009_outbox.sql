-- The outbox: messages written in the unit of work that they tell of, and the streams in which
-- relays publish them.
--
-- A writer only inserts, so that units of work never wait for each other here. A relay numbers the
-- new rows of a key while it holds the key's row in outbox_streams: that row is what is locked, so
-- any number of relays agree on one order.
--
-- Why the order is right: a unit takes its positions after it has locked the row that its messages
-- tell of. Of two units that change one row, the second takes its positions after the first has
-- committed. So its positions are larger, and whoever sees its messages also sees the first one's.
-- Units that share no row have no order between them.
--
-- No foreign key to the tenant: it would be checked for every row, a third of the cost of writing
-- one. The library's INSERT looks for the tenant once.
CREATE TABLE tenantry.outbox (
    tenant_id uuid NOT NULL,
    -- No tenant may read it: the gaps would tell how much the others write. An identity column
    -- needs no grant on its sequence.
    position bigint GENERATED ALWAYS AS IDENTITY,
    key text COLLATE "C" NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    kind text NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 100),
    payload json NOT NULL,
    occurred_at timestamptz NOT NULL,
    written_at timestamptz NOT NULL,
    -- The number within the key, from 1 and without gaps; given by a relay.
    sequence bigint CHECK (sequence > 0),
    -- When it was published, or skipped.
    settled_at timestamptz CHECK (settled_at IS NULL OR sequence IS NOT NULL),
    -- Why it was skipped.
    error text CHECK (error IS NULL OR settled_at IS NOT NULL),
    PRIMARY KEY (tenant_id, position)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- New rows. Keys are found by jumping from one to the next, so one key's backlog costs one step.
CREATE INDEX outbox_new ON tenantry.outbox (tenant_id, key, position) WHERE sequence IS NULL;
-- A key's messages in order; two relays can never give one number twice.
CREATE UNIQUE INDEX outbox_sequence ON tenantry.outbox (tenant_id, key, sequence)
    WHERE sequence IS NOT NULL;
-- What can be pruned: the only statement that reads it works across tenants.
CREATE INDEX outbox_settled ON tenantry.outbox (settled_at) WHERE settled_at IS NOT NULL;

ALTER TABLE tenantry.outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.outbox FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.outbox TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
CREATE POLICY platform ON tenantry.outbox TO tenantry_platform USING (true) WITH CHECK (true);
GRANT INSERT (tenant_id, key, kind, payload, occurred_at, written_at),
    SELECT (tenant_id, key, kind, payload, occurred_at, written_at, sequence, settled_at, error)
    ON tenantry.outbox TO tenantry_tenant;
GRANT SELECT, UPDATE (sequence, settled_at, error), DELETE ON tenantry.outbox TO tenantry_platform;

-- One row per key that ever had a message. Relays only; a row is never removed, since consumers
-- tell a repeated message by its number.
CREATE TABLE tenantry.outbox_streams (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    key text COLLATE "C" NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    -- The last number given.
    last_sequence bigint NOT NULL DEFAULT 0,
    -- The last number published or skipped.
    settled_sequence bigint NOT NULL DEFAULT 0,
    -- From when a relay may claim the key: at once, after a failure's delay, or when a lease ends.
    due_at timestamptz,
    -- The fencing token of the relay that holds the key until due_at.
    lease_id uuid,
    -- How often the first message that is not settled was tried.
    attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    last_error text,
    parked_at timestamptz,
    PRIMARY KEY (tenant_id, key),
    CONSTRAINT outbox_streams_sequences
        CHECK (settled_sequence >= 0 AND settled_sequence <= last_sequence),
    -- A key with messages left is due or parked, and no other key is.
    CONSTRAINT outbox_streams_state
        CHECK ((settled_sequence < last_sequence) = (due_at IS NOT NULL OR parked_at IS NOT NULL)
            AND (due_at IS NULL OR parked_at IS NULL)
            AND (lease_id IS NULL OR due_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- Longest due first, whichever tenant's: no tenant's key waits behind another tenant's backlog.
CREATE INDEX outbox_streams_due ON tenantry.outbox_streams (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_streams_parked ON tenantry.outbox_streams (tenant_id, key)
    WHERE parked_at IS NOT NULL;

ALTER TABLE tenantry.outbox_streams ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.outbox_streams FORCE ROW LEVEL SECURITY;
CREATE POLICY platform ON tenantry.outbox_streams TO tenantry_platform
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON tenantry.outbox_streams TO tenantry_platform;
