-- Executions and what hangs on them.
--
-- The narrow row is not partitioned, so that one key can keep a source's ids apart; archival keeps
-- it bounded. Payloads and error logs are: their ids carry the start of their execution.
CREATE TABLE tenantry.executions (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    source_id uuid NOT NULL,
    n8n_execution_id text COLLATE "C" NOT NULL CHECK (char_length(n8n_execution_id) BETWEEN 1 AND 255),
    workflow_id uuid NOT NULL,
    triggered_by uuid,
    mode text NOT NULL CHECK (char_length(mode) BETWEEN 1 AND 64),
    status text NOT NULL CHECK (status IN
        ('unknown', 'new', 'running', 'waiting', 'success', 'error', 'canceled', 'crashed')),
    status_text text CHECK (char_length(status_text) BETWEEN 1 AND 64),
    started_at timestamptz NOT NULL,
    wait_till timestamptz,
    finished_at timestamptz,
    execution_time bigint CHECK (execution_time >= 0),
    retry_of text,
    retry_success text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT executions_source_key UNIQUE (tenant_id, source_id, n8n_execution_id),
    FOREIGN KEY (tenant_id, source_id) REFERENCES tenantry.n8n_sources (tenant_id, id),
    FOREIGN KEY (tenant_id, workflow_id) REFERENCES tenantry.workflows (tenant_id, id),
    -- An end has an instant and a duration, and nothing else has.
    CHECK ((status IN ('success', 'error', 'canceled', 'crashed')) = (finished_at IS NOT NULL)),
    CHECK ((finished_at IS NULL) = (execution_time IS NULL)),
    CHECK (wait_till IS NULL OR status = 'waiting')
);
-- The list of a workflow, newest first, and its performance summary from the index alone.
CREATE INDEX idx_executions_performance
    ON tenantry.executions (tenant_id, workflow_id, started_at, id) INCLUDE (status, execution_time);
-- The list of a tenant, newest first.
CREATE INDEX executions_by_time ON tenantry.executions (tenant_id, started_at, id);

CREATE TABLE tenantry.execution_data (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('input', 'output', 'error')),
    payload json NOT NULL,
    bytes bigint NOT NULL CHECK (bytes > 0),
    masked integer NOT NULL CHECK (masked >= 0),
    PRIMARY KEY (tenant_id, id, kind),
    FOREIGN KEY (tenant_id, id) REFERENCES tenantry.executions (tenant_id, id)
) PARTITION BY RANGE (id);

CREATE TABLE tenantry.error_logs (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    execution_id uuid NOT NULL,
    entry integer NOT NULL CHECK (entry >= 0),
    node text,
    error_type text,
    message text NOT NULL,
    description text,
    stack text,
    cleaned boolean NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, execution_id) REFERENCES tenantry.executions (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX error_logs_execution ON tenantry.error_logs (tenant_id, execution_id, entry);

-- Two different ends that a source told of one execution: the first stays, the others are kept here.
CREATE TABLE tenantry.execution_contradictions (
    tenant_id uuid NOT NULL,
    execution_id uuid NOT NULL,
    kept_status text NOT NULL,
    kept_at timestamptz NOT NULL,
    reported_status text NOT NULL,
    reported_at timestamptz NOT NULL,
    observed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, execution_id, reported_status, reported_at),
    FOREIGN KEY (tenant_id, execution_id) REFERENCES tenantry.executions (tenant_id, id)
);

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'executions', 'execution_data', 'error_logs', 'execution_contradictions']
    LOOP
        EXECUTE format('ALTER TABLE tenantry.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE tenantry.%I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY tenant_isolation ON tenantry.%I TO tenantry_tenant
            USING (tenant_id = tenantry.tenant_id())
            WITH CHECK (tenant_id = tenantry.tenant_id())', name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE ON tenantry.executions TO tenantry_tenant;
GRANT SELECT, INSERT, DELETE ON tenantry.execution_data, tenantry.error_logs TO tenantry_tenant;
GRANT SELECT, INSERT ON tenantry.execution_contradictions TO tenantry_tenant;
