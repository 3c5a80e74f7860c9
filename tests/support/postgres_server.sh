#!/bin/sh
# Runs a PostgreSQL server in its own folder until the parent closes our stdin or dies. `keep` on stdin
# keeps the folder. Usage: server.sh BIN FOLDER PORT [SETTING...]
set -eu
bin=$1 folder=$2 port=$3
shift 3
as_postgres=
if [ "$(id -u)" = 0 ]; then
    # initdb and the server refuse to run as root.
    as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups"
    chown postgres "$folder"
fi
cd "$folder"
if [ ! -d data ]; then
    $as_postgres "$bin/initdb" --pgdata=data --auth=trust --username=postgres --encoding=UTF8 \
        --locale=C --no-sync >initdb.log
fi
$as_postgres "$bin/postgres" -D data -p "$port" -k "$folder" "$@" >>server.log 2>&1 </dev/null &
server=$!
word=
end() {
    kill -INT "$server" 2>/dev/null || true
    wait "$server" || true
    if [ "$word" != keep ]; then
        rm -rf "$folder"
    fi
}
trap end EXIT
trap '' PIPE
echo "$server"
word=$(cat)
