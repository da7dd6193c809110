#!/bin/bash
# Run once by the image, before PostgreSQL is open to others: the hosts' role and database, and the replica's role.
set -euo pipefail
# Hosts make two roles for each database of a plugin, so theirs may make roles; it is no superuser.
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
    --set host_password="$(cat /run/secrets/postgres-password)" --set replica_password="$(cat /run/secrets/postgres-replica-password)" <<'SQL'
CREATE ROLE plinth LOGIN CREATEROLE PASSWORD :'host_password';
CREATE DATABASE plinth OWNER plinth;
CREATE ROLE replica LOGIN REPLICATION PASSWORD :'replica_password';
SELECT pg_create_physical_replication_slot('replica');
SQL
echo 'host replication replica all scram-sha-256' >> "$PGDATA/pg_hba.conf"
