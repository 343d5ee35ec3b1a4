#!/bin/sh
# Starts the database node whose home directory is given, as one starts a node in earnest: the
# position of its data is read first (a node that crashed has it nowhere else), and it asks its
# peers to be let in. It founds a cluster only where `found-cluster` lies in its home, once.
set -eu
home=$1
settings="--defaults-file=$home/galera.cnf"

said=$(mariadbd "$settings" --wsrep-recover 2>&1) || { echo "$said" >&2; exit 1; }
position=$(echo "$said" | sed -n 's/.*WSREP: Recovered position: *//p' | tail -n 1)

set -- "$settings" "--wsrep-start-position=$position"
if rm "$home/found-cluster" 2>/dev/null; then set -- "$@" --wsrep-new-cluster; fi
exec mariadbd "$@"
