# What the scripts share: finding and installing the programs that the tests run. Sourced by bash.
# The places are those of tests/suite/support, which starts the programs.

oldest_postgres=15

say() { printf "%s\n" "$@"; }
complain() { printf "%s\n" "$@" >&2; }

# The major version of the `postgres` in directory $1, or nothing.
postgres_version() {
    "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p'
}

# Prints the directory with the newest complete PostgreSQL that is new enough.
find_postgres() {
    local directory version best='' newest=$((oldest_postgres - 1)) on_path
    IFS=: read -r -a on_path <<<"$PATH"
    for directory in "${on_path[@]}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin \
        /usr/local/pgsql/bin /usr/local/pgsql-*/bin /usr/lib/postgresql*/bin \
        /usr/libexec/postgresql* /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
        [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] || continue
        version=$(postgres_version "$directory")
        if [ -n "$version" ] && [ "$version" -gt "$newest" ]; then
            best=$directory newest=$version
        fi
    done
    [ -n "$best" ] && say "$best"
}

# Prints the path of program $1, which may be where only root's PATH leads.
find_program() {
    local directory
    command -v "$1" && return
    for directory in /usr/sbin /usr/local/sbin /usr/local/bin /opt/homebrew/bin \
        "/opt/homebrew/opt/$1/bin" "$(find_postgres)"; do
        [ -x "$directory/$1" ] && say "$directory/$1" && return
    done
    return 1
}

# Sets `missing` to what the tests need and this machine has not.
find_missing() {
    missing=()
    find_postgres >/dev/null || missing+=(postgresql)
    find_program psql >/dev/null || missing+=(psql)
    find_program pgbouncer >/dev/null || missing+=(pgbouncer)
    command -v cc >/dev/null || missing+=(cc)
}

# The Debian package of a server that is new enough, of those that apt knows.
debian_postgres() {
    local package
    package=$(apt-cache search --names-only '^postgresql-[0-9]+$' | awk '{ print $1 }' |
        sort -t- -k2 -n | tail -n 1)
    [ "${package##*-}" -ge "$oldest_postgres" ] 2>/dev/null && say "$package"
}

# Installs what is missing with apt-get, run through "$@" (nothing, or `sudo -n`).
#
# Debian starts what it installs, and makes a PostgreSQL cluster besides. The tests want the
# programs only, so both are held back while apt-get runs.
install_with_apt() {
    local what packages=() policy=/usr/sbin/policy-rc.d ours='' rc=0
    local apt=("$@" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0)
    local quiet=(-y -q --no-install-recommends)
    local conf=/etc/postgresql-common/createcluster.conf
    "${apt[@]}" -q update || return
    for what in "${missing[@]}"; do
        case $what in
        postgresql) packages+=("$(debian_postgres)") || return ;;
        psql) packages+=(postgresql-client) ;;
        cc) packages+=(gcc libc6-dev) ;;
        *) packages+=("$what") ;;
        esac
    done
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | "$@" tee "$policy" >/dev/null
        "$@" chmod 755 "$policy"
    fi
    case " ${missing[*]} " in
    *' postgresql '*)
        "${apt[@]}" install "${quiet[@]}" postgresql-common || rc=$?
        "$@" cp -p "$conf" "$conf.tenantry" &&
            "$@" sed -i -E "s/^#? *create_main_cluster.*/create_main_cluster = false/" "$conf" ||
            rc=$?
        ;;
    esac
    [ "$rc" -ne 0 ] || "${apt[@]}" install "${quiet[@]}" "${packages[@]}" || rc=$?
    [ ! -e "$conf.tenantry" ] || "$@" mv "$conf.tenantry" "$conf"
    [ -z "$ours" ] || "$@" rm -f "$policy"
    return "$rc"
}

# Finds or installs what the tests need; otherwise says what to install, and fails.
provide() {
    find_missing
    [ "${#missing[@]}" -gt 0 ] || return 0
    if command -v apt-get >/dev/null; then
        if [ "$(id -u)" -eq 0 ]; then
            say "Installing what the tests need: ${missing[*]}"
            install_with_apt || complain "apt-get failed."
        elif sudo -n true 2>/dev/null; then
            say "Installing what the tests need, with sudo: ${missing[*]}"
            install_with_apt sudo -n || complain "apt-get failed."
        fi
        hash -r
        find_missing
        [ "${#missing[@]}" -gt 0 ] || return 0
    fi
    complain "The tests need what this machine has not: ${missing[*]}.
They start a PostgreSQL (version $oldest_postgres or later) and a pgbouncer of their own from the
installed programs; no service has to run. To install them:
  Debian, Ubuntu   sudo apt-get update && sudo apt-get install postgresql pgbouncer gcc
                   (where postgresql is older than $oldest_postgres: from PostgreSQL's own apt repository)
  Fedora, RHEL     sudo dnf install postgresql-server postgresql pgbouncer gcc
  macOS            brew install postgresql@17 pgbouncer
  Arch             sudo pacman -S postgresql pgbouncer gcc"
    return 1
}

# Stops unless there is a cargo that is new enough for the crate's edition and lints.
need_cargo() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! command -v cargo >/dev/null; then
        complain "cargo is not installed: the tests need Rust $wanted or later, see https://rustup.rs."
        return 1
    fi
    have=$(cargo --version | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
    if [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -t. -k1,1n -k2,2n | head -n 1)" != "$wanted" ]; then
        complain "cargo is version $have: the tests need Rust $wanted or later (rustup update)."
        return 1
    fi
}

# Runs a command as the account that servers run as: PostgreSQL refuses root.
as_server() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        su -s /bin/sh "$(server_account)" -c 'cd / && exec "$0" "$@"' -- "$@"
    fi
}

server_account() {
    if id -u postgres >/dev/null 2>&1; then say postgres; else say nobody; fi
}
