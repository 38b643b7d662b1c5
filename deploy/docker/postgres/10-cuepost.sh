#!/bin/bash
# One role and one database per service, and no service's role connects to another's database. Runs when the cluster is made.
# Run again (docker compose exec postgres bash /docker-entrypoint-initdb.d/10-cuepost.sh), it makes what a newer version needs
# and brings the passwords up to date.
set -euo pipefail
run() {
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}
for service in accounts scheduler publisher analytics; do
  run --dbname postgres --set name="$service" --set file="/run/cuepost/$service" <<'SQL'
\set password `cat :'file'`
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'name') AS is_new \gset
\if :is_new
CREATE ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
CREATE DATABASE :"name" OWNER :"name";
\endif
ALTER ROLE :"name" PASSWORD :'password';
ALTER ROLE :"name" SET idle_in_transaction_session_timeout = '30s';
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
# Analytics may not change its audit trail: another role owns the database, and migrates it.
run --dbname analytics <<'SQL'
\set password `cat /run/cuepost/analytics_owner`
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'analytics_owner') AS is_new \gset
\if :is_new
CREATE ROLE analytics_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
\endif
ALTER ROLE analytics_owner PASSWORD :'password';
ALTER DATABASE analytics OWNER TO analytics_owner;
REASSIGN OWNED BY analytics TO analytics_owner;
GRANT CONNECT ON DATABASE analytics TO analytics;
SQL
run --dbname postgres <<'SQL'
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
SQL
