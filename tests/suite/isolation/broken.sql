-- A schema with every hole that lint.sql knows.
CREATE SCHEMA broken;
CREATE TABLE broken.tenants (id uuid PRIMARY KEY);
CREATE TABLE broken.bare (tenant_id uuid, id uuid, PRIMARY KEY (id));
CREATE POLICY p ON broken.bare USING (true);
CREATE TABLE broken.child (id uuid PRIMARY KEY, parent uuid REFERENCES broken.bare (id) ON DELETE CASCADE);
CREATE TABLE broken.cousin (
    tenant_id uuid NOT NULL, id uuid, parent uuid REFERENCES broken.bare (id),
    name text, during tstzrange, EXCLUDE USING gist (during WITH &&), PRIMARY KEY (tenant_id, id));
ALTER TABLE broken.cousin ENABLE ROW LEVEL SECURITY;
CREATE POLICY other ON broken.cousin TO tenantry_tenant USING (name = current_user);
CREATE INDEX lowered ON broken.cousin (tenant_id, lower(name));
CREATE VIEW broken.peep AS SELECT * FROM broken.bare;
CREATE MATERIALIZED VIEW broken.frozen AS SELECT * FROM broken.bare;
GRANT SELECT ON broken.frozen TO tenantry_tenant;
CREATE TABLE broken.grown (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id))
    PARTITION BY RANGE (id);
CREATE TABLE broken.grown_all PARTITION OF broken.grown FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
GRANT SELECT, TRUNCATE ON broken.grown_all TO tenantry_tenant;
CREATE FUNCTION broken.sudo() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT';
CREATE TABLE broken.owned (id uuid);
ALTER TABLE broken.owned OWNER TO tenantry_tenant;
