# shellcheck shell=bash disable=SC2154 # port and place are set by deploy/services
# PostgreSQL for deploy/services: how to tell that one answers, and how to run a private cluster that meets no other.
#
# The cluster has a TCP port and no Unix socket: a socket's path may have only 107 bytes, which a deep checkout exceeds.

postgres_variable() { echo DATABASE_URL; }
postgres_default_port() { echo 5432; }
postgres_package() { echo postgresql; }
postgres_url() { echo "postgres://postgres:postgres@127.0.0.1:$1/banklink"; }
# DATABASE_URL may as well name a SQLite file, which is no server and not our business.
postgres_url_from_environment() { [[ ${DATABASE_URL-} =~ ^postgres(ql)?:// ]] && echo "$DATABASE_URL"; }

# Debian keeps the programs of each version in a directory outside the PATH; the newest will do.
postgres_bin() { printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1; }
postgres_installed() { [[ -x $(postgres_bin)/initdb ]]; }

# Runs one statement; a given environment must not steer it elsewhere.
postgres_query() { PGCONNECT_TIMEOUT=3 timeout 10 psql --no-psqlrc --no-password -qAt -c "$2" "$1" </dev/null; }

# True if a server answers at the URL and lets its user into that database.
postgres_answers() { have psql && postgres_query "$1" 'select 1' >/dev/null 2>&1; }

# The same of the server alone, which may not have the database yet: postgres_prepare sees to that.
postgres_runs_on() { postgres_answers "postgres://postgres:postgres@127.0.0.1:$1/postgres"; }

postgres_prepare() {
  local server=${1%/banklink}/postgres
  [[ $(postgres_query "$server" "select 1 from pg_database where datname = 'banklink'") ]] ||
    postgres_query "$server" 'create database banklink'
}

postgres_start() {
  [[ -f $place/data/PG_VERSION ]] || postgres_create >&2 || return 1
  postgres_unlock
  # -w waits for the server; it detaches by itself, from our terminal and from our caller's pipe.
  as_owner "$(postgres_bin)/pg_ctl" -D "$place/data" -l "$place/server.log" -t 60 -w start </dev/null >/dev/null 2>&1
}

postgres_create() {
  as_owner tee "$place/password" >/dev/null <<<postgres
  as_owner "$(postgres_bin)/initdb" -D "$place/data" -U postgres --pwfile="$place/password" --auth=scram-sha-256 \
    --encoding=UTF8 --locale=C >/dev/null || return 1
  as_owner tee -a "$place/data/postgresql.conf" >/dev/null <<-CONF
	listen_addresses = '127.0.0.1'
	port = $port
	unix_socket_directories = ''
	# Each test has a database and a pool of connections of its own.
	max_connections = 200
	shared_buffers = 64MB
	# In the data directory, not in /dev/shm, where a kill -9 would leave it behind.
	dynamic_shared_memory_type = mmap
	CONF
}

# Every process of a cluster has its data directory as working directory.
postgres_processes() {
  local process
  for process in /proc/[0-9]*; do
    [[ ! $process/cwd -ef $place/data ]] || echo "${process#/proc/}"
  done
}

postgres_stop() {
  [[ -z $(postgres_processes) ]] ||
    as_owner "$(postgres_bin)/pg_ctl" -D "$place/data" -m fast -t 30 -w stop >/dev/null 2>&1 || say "postgres: does not stop by itself"
  kill_processes
  postgres_unlock
}

# A killed server leaves a lock file and, named in its line 7, a segment of System V shared memory. PostgreSQL believes such a lock
# if any process has the number in it, be it a zombie, as in containers whose init reaps nothing. We know better.
postgres_unlock() {
  local lock=$place/data/postmaster.pid segment
  [[ -f $lock && -z $(postgres_processes) ]] || return 0
  segment=$(awk 'NR == 7 { print $2 }' "$lock")
  [[ -z $segment ]] || ipcrm --shmem-id "$segment" 2>/dev/null || true
  rm -f -- "$lock"
}
