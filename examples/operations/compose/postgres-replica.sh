#!/bin/bash
# Copies the primary if there is no copy yet, then goes on as the image would: as a standby that streams.
set -euo pipefail
volume=/var/lib/postgresql/data
export PGDATA="$volume/copy"
if [ ! -e "$PGDATA" ]; then
    # Beside it and renamed when it is whole: half a copy is never started, and one that was promoted never replaced.
    rm -rf "$volume/incoming"
    chown postgres:postgres "$volume"
    # The password goes into the connection settings that --write-recovery-conf writes.
    PGPASSWORD="$(cat /run/secrets/postgres-replica-password)" gosu postgres pg_basebackup --host=postgres --username=replica \
        --pgdata="$volume/incoming" --wal-method=stream --slot=replica --write-recovery-conf --checkpoint=fast
    mv "$volume/incoming" "$PGDATA"
fi
exec docker-entrypoint.sh "$@"
