-- Users, the roles that tenants define, and who has which role.
--
-- Ids are unique per tenant: one person, known by one id at an identity provider, may be a user of
-- several tenants, and no key tells one tenant of another's user.
CREATE TABLE tenantry.users (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    subject text CHECK (char_length(subject) BETWEEN 1 AND 255),
    email text NOT NULL CHECK (char_length(email) BETWEEN 3 AND 254),
    -- The address in lower case, made by the library: under row-level security an index on
    -- lower(email) cannot be used.
    email_key text NOT NULL,
    full_name text CHECK (char_length(full_name) BETWEEN 1 AND 255),
    preferences jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(preferences) = 'object'),
    status text NOT NULL CHECK (status IN ('active', 'deactivated', 'erased')),
    last_login_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT users_email_key UNIQUE (tenant_id, email_key),
    CONSTRAINT users_subject_key UNIQUE (tenant_id, subject)
);
ALTER TABLE tenantry.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.users FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.users TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, UPDATE (subject, email, email_key, full_name, preferences, status,
    last_login_at, updated_at, revision) ON tenantry.users TO tenantry_tenant;

-- A login touches last_login_at alone: it is many times a day and not a change of the user, so it
-- does not fire.
CREATE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF
    tenant_id, id, subject, email, email_key, full_name, preferences, status, created_at
    ON tenantry.users FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

CREATE TABLE tenantry.roles (
    tenant_id uuid NOT NULL REFERENCES tenantry.tenants (id),
    id uuid NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (name ~ '^[a-z][a-z0-9_-]{0,49}$'
        AND name NOT IN ('owner', 'admin', 'editor', 'viewer')),
    permissions text[] NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL CHECK (revision > 0),
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT roles_name_key UNIQUE (tenant_id, name)
);
ALTER TABLE tenantry.roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.roles TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, UPDATE (permissions, updated_at, revision), DELETE
    ON tenantry.roles TO tenantry_tenant;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.roles
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

-- What a built-in role allows is in the library; what a custom one does, in its row.
CREATE TABLE tenantry.user_roles (
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text COLLATE "C" NOT NULL,
    custom_role text COLLATE "C" GENERATED ALWAYS AS (
        CASE WHEN role NOT IN ('owner', 'admin', 'editor', 'viewer') THEN role END) STORED,
    granted_by uuid,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id),
    CONSTRAINT user_roles_role_user_key UNIQUE (tenant_id, role, user_id),
    FOREIGN KEY (tenant_id, user_id) REFERENCES tenantry.users (tenant_id, id),
    FOREIGN KEY (tenant_id, custom_role) REFERENCES tenantry.roles (tenant_id, name),
    FOREIGN KEY (tenant_id, granted_by) REFERENCES tenantry.users (tenant_id, id)
);
CREATE INDEX user_roles_user ON tenantry.user_roles (tenant_id, user_id);
CREATE INDEX user_roles_custom_role ON tenantry.user_roles (tenant_id, custom_role);
ALTER TABLE tenantry.user_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenantry.user_roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON tenantry.user_roles TO tenantry_tenant
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());
GRANT SELECT, INSERT, DELETE ON tenantry.user_roles TO tenantry_tenant;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON tenantry.user_roles
    FOR EACH ROW EXECUTE FUNCTION tenantry.audit_row('tenant_id');

-- Erasure reaches the audit trail. The trail stays append-only for every role but its owner, who
-- changes it only here: for the present tenant, and for a user who is erased, so that nobody can
-- cover their tracks with it and stay.
CREATE POLICY audit_sees_status ON tenantry.users FOR SELECT TO tenantry_audit
    USING (tenant_id = tenantry.tenant_id());
GRANT SELECT (tenant_id, id, status) ON tenantry.users TO tenantry_audit;
CREATE POLICY forget_reads ON tenantry.audit_logs FOR SELECT TO tenantry_audit
    USING (tenant_id = tenantry.tenant_id());
CREATE POLICY forget_writes ON tenantry.audit_logs FOR UPDATE TO tenantry_audit
    USING (tenant_id = tenantry.tenant_id()) WITH CHECK (tenant_id = tenantry.tenant_id());

-- A user's columns without what tells who the person is. The list of the library.
CREATE FUNCTION tenantry.without_person(columns jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
RETURN (
    SELECT coalesce(jsonb_object_agg(e.key, CASE
        WHEN jsonb_typeof(e.value) <> 'null' AND e.key = ANY (ARRAY[
            'subject', 'email', 'email_key', 'full_name', 'preferences', 'last_login_at'])
        THEN '"[erased]"'::jsonb ELSE e.value END), '{}')
    FROM jsonb_each(columns) e);

CREATE FUNCTION tenantry.forget_in_audit(person uuid) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own CONSTANT uuid := tenantry.tenant_id();
    found_entries bigint;
BEGIN
    IF NOT EXISTS (
        SELECT FROM tenantry.users u
        WHERE u.tenant_id = own AND u.id = person AND u.status = 'erased')
    THEN
        RAISE EXCEPTION 'only an erased user is forgotten in the audit trail'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'forget_in_audit_erased';
    END IF;
    UPDATE tenantry.audit_logs a SET
        old_values = CASE WHEN a.resource_type = 'users' AND a.resource_id = person
            THEN tenantry.without_person(a.old_values) ELSE a.old_values END,
        new_values = CASE WHEN a.resource_type = 'users' AND a.resource_id = person
            THEN tenantry.without_person(a.new_values) ELSE a.new_values END,
        ip_address = CASE WHEN a.user_id = person THEN NULL ELSE a.ip_address END,
        user_agent = CASE WHEN a.user_id = person THEN NULL ELSE a.user_agent END,
        session_id = CASE WHEN a.user_id = person THEN NULL ELSE a.session_id END
    WHERE a.tenant_id = own
        AND (a.user_id = person OR a.resource_type = 'users' AND a.resource_id = person);
    GET DIAGNOSTICS found_entries = ROW_COUNT;
    RETURN found_entries;
END
$$;
ALTER FUNCTION tenantry.forget_in_audit(uuid) OWNER TO tenantry_audit;
REVOKE ALL ON FUNCTION tenantry.forget_in_audit(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenantry.forget_in_audit(uuid) TO tenantry_tenant;
