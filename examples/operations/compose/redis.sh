#!/bin/sh
# Starts Redis with its password from a file: on the command line every process would see it.
set -eu
exec redis-server - <<CONF
requirepass $(cat /run/secrets/redis-password)
save ""
appendonly no
maxmemory 384mb
maxmemory-policy allkeys-lru
CONF
