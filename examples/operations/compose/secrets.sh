#!/bin/sh
# Makes the passwords of compose.yaml in secrets/, once; what is there is kept.
set -eu
cd "$(dirname "$0")/.."
# Compose mounts them as they are, and each server reads them as a user of its own: files are readable, their folder is not.
install -d -m 0700 secrets
for name in redis-password rabbitmq-password rabbitmq-cookie postgres-password postgres-admin-password postgres-replica-password; do
    [ -e "secrets/$name" ] || { od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name" && chmod 0444 "secrets/$name"; }
done
