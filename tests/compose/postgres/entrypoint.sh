#!/bin/bash
# The part of the official image's entrypoint that compose.yaml relies on.
set -eu

data=/var/lib/postgresql/data

as_postgres() {
    setpriv --reuid postgres --regid postgres --clear-groups "$@"
}

install -d -o postgres -g postgres -m 700 $data
if [ ! -s $data/PG_VERSION ]; then
    install -o postgres -m 600 "$POSTGRES_PASSWORD_FILE" /tmp/password
    as_postgres initdb --pgdata $data --username "$POSTGRES_USER" --auth-host scram-sha-256 \
        --auth-local trust --pwfile /tmp/password >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>$data/pg_hba.conf
    as_postgres pg_ctl --pgdata $data --wait --options "-c listen_addresses=" start >/dev/null
    as_postgres createdb --username "$POSTGRES_USER" "$POSTGRES_DB"
    as_postgres pg_ctl --pgdata $data --wait --mode fast stop >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups postgres -D $data -c 'listen_addresses=*'
