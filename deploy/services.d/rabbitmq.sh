# shellcheck shell=bash disable=SC2154 # port and place are set by deploy/services
# RabbitMQ for deploy/services: how to tell that one answers, and how to run a private node that meets no other.
#
# Two nodes on one machine collide by node name, by AMQP port, by distribution port, and through epmd, the daemon that Erlang
# starts to map names to ports and that outlives the node. A private node therefore has a port for each, an epmd of its own,
# and its own HOME for the Erlang cookie.

rabbitmq_variable() { echo AMQP_URL; }
rabbitmq_default_port() { echo 5672; }
rabbitmq_package() { echo rabbitmq-server; }
rabbitmq_url() { echo "amqp://guest:guest@127.0.0.1:$1/%2f"; }
rabbitmq_url_from_environment() { [[ ${AMQP_URL-} ]] && echo "$AMQP_URL"; }
rabbitmq_prepare() { :; }

# The commands in /usr/sbin insist on being root or rabbitmq; these are what they wrap.
rabbitmq_bin=/usr/lib/rabbitmq/bin
rabbitmq_installed() { [[ -x $rabbitmq_bin/rabbitmq-server ]]; }

# True if a broker answers at the URL and accepts its user and password.
rabbitmq_answers() {
  local pattern='^(amqps?)://(([^:@/]*)(:([^@/]*))?@)?(\[[^]]+\]|[^:/?]+)(:([0-9]+))?'
  [[ $1 =~ $pattern ]] || return 1
  local tls=${BASH_REMATCH[1]} host=${BASH_REMATCH[6]} number=${BASH_REMATCH[8]}
  local user=${BASH_REMATCH[3]:-guest} password=${BASH_REMATCH[5]:-guest}
  host=${host#[} host=${host%]}
  if [[ $tls == amqps ]]; then
    # Bash speaks no TLS; that the port is open is as much as can be told.
    # shellcheck disable=SC2016 # the inner shell expands them
    timeout 3 bash -c 'exec 3<>"/dev/tcp/$1/$2"' _ "$host" "${number:-5671}" 2>/dev/null
    return
  fi
  # By environment, not by argument: the arguments of a process are everybody's to read.
  amqp_user=$(printf '%b' "${user//%/\\x}") amqp_password=$(printf '%b' "${password//%/\\x}") \
    timeout 3 bash -c "$(declare -f amqp_log_in amqp_frame); amqp_log_in \"\$@\"" _ "$host" "${number:-5672}" 2>/dev/null
}

rabbitmq_runs_on() { rabbitmq_answers "$(rabbitmq_url "$1")"; }

# The first half of AMQP 0-9-1's handshake: header, Connection.Start, Start-Ok with PLAIN. A right password is answered with
# Connection.Tune (10, 30), a wrong one with a closed socket. A node accepts logins only once it has booted completely.
amqp_log_in() {
  local credentials=$((${#amqp_user} + ${#amqp_password} + 2)) method size
  exec 3<>"/dev/tcp/$1/$2"
  printf 'AMQP\0\0\x09\x01' >&3
  amqp_frame && [[ $method == 0,10,0,10 ]] || return 1
  printf -v size '\\x%02x' 0 0 $(((credentials + 24) >> 8)) $(((credentials + 24) & 255))
  printf -v credentials '\\x%02x' 0 0 $((credentials >> 8)) $((credentials & 255))
  {
    # frame: type 1, channel 0, size; then method 10.11, no properties, "PLAIN", credentials, locale; then the end octet
    printf '%b' "\x01\x00\x00${size}\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN$credentials"
    printf '\0%s\0%s\x05en_US\xce' "$amqp_user" "$amqp_password"
  } >&3
  amqp_frame && [[ $method == 0,10,0,30 ]]
}

# Reads one frame from descriptor 3 and leaves its class and method in `method`.
amqp_frame() {
  local header
  read -r -a header < <(head -c 7 <&3 | od -An -v -tu1)
  ((${#header[@]} == 7)) || return 1
  method=$(head -c $(((header[5] << 8) + header[6] + 1)) <&3 | od -An -N4 -tu1 | xargs | tr ' ' ,)
}

# Runs a command in the private node's environment.
rabbitmq_as_owner() {
  local loopback='-kernel inet_dist_use_interface {127,0,0,1}'
  as_owner \
    RABBITMQ_NODENAME="banklink-$port@localhost" \
    RABBITMQ_DIST_PORT="$((port + 1))" \
    ERL_EPMD_PORT="${BANKLINK_RABBITMQ_EPMD_PORT:-$((port + 2))}" ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback" RABBITMQ_CTL_ERL_ARGS="$loopback" \
    RABBITMQ_CONF_ENV_FILE=/dev/null \
    RABBITMQ_CONFIG_FILE="$place/rabbitmq.conf" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$place/advanced.config" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$place/enabled_plugins" \
    RABBITMQ_PLUGINS_EXPAND_DIR="$place/plugins" \
    RABBITMQ_GENERATED_CONFIG_DIR="$place/generated" RABBITMQ_SCHEMA_DIR="$place/schema" \
    RABBITMQ_MNESIA_BASE="$place/data" \
    RABBITMQ_LOGS=- RABBITMQ_LOG_BASE="$place" \
    RABBITMQ_PID_FILE="$place/pid" ERL_CRASH_DUMP="$place/erl_crash.dump" \
    "$@"
}

rabbitmq_ctl() { rabbitmq_as_owner "$rabbitmq_bin/rabbitmqctl" "$@"; }

rabbitmq_start() {
  rabbitmq_configure
  # Its own session, log and /dev/null: a Ctrl-C meant for us must not reach it, nor may it hold our caller's pipe open.
  # shellcheck disable=SC2016 # the inner shell expands it
  rabbitmq_as_owner setsid --fork sh -c 'exec "$0" </dev/null >>server.log 2>&1' "$rabbitmq_bin/rabbitmq-server"
  eventually 60 rabbitmq_started_or_died && rabbitmq_runs_on "$port"
}

rabbitmq_started_or_died() { rabbitmq_runs_on "$port" || [[ -z $(rabbitmq_processes) ]]; }

rabbitmq_configure() {
  # Without a cookie of its own, the node would invent one that can be guessed, and any local user could talk to it.
  # By stdin, not by argument: the arguments of a process are everybody's to read.
  [[ -f $place/.erlang.cookie ]] || as_owner bash -c 'umask 077 && cat >.erlang.cookie && chmod 400 .erlang.cookie' < <(
    printf %s "${BANKLINK_RABBITMQ_COOKIE:-$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')}"
  )
  as_owner bash -c 'umask 077 && echo "[]." | tee advanced.config >enabled_plugins'
  # A restart without the variable keeps the lines that the last start was given.
  [[ -v BANKLINK_RABBITMQ_EXTRA_CONF || ! -f $place/rabbitmq.conf ]] || return 0
  as_owner tee "$place/rabbitmq.conf" >/dev/null <<-CONF
	listeners.tcp.1 = 127.0.0.1:$port
	# By default these depend on the machine, and a small one would block publishers before anything is wrong. The
	# longest backlog that the bench makes, a million messages, takes more than 1 GB for a while.
	disk_free_limit.absolute = 200MB
	vm_memory_high_watermark.absolute = 4GB
	${BANKLINK_RABBITMQ_EXTRA_CONF-}
	CONF
}

# Every process of the node, epmd too: Erlang passes our environment on to all that it starts.
rabbitmq_processes() { grep -slzFx "RABBITMQ_PID_FILE=$place/pid" /proc/[0-9]*/environ | cut -d / -f 3; }

rabbitmq_stop() {
  local vms
  mapfile -t vms < <(rabbitmq_vms)
  # SIGTERM makes Erlang's virtual machine stop its applications in order.
  ((${#vms[@]} == 0)) || kill "${vms[@]}" || true
  eventually 30 rabbitmq_vms_gone || say "rabbitmq: does not stop by itself"
  kill_processes
}

rabbitmq_vms_gone() { [[ -z $(rabbitmq_vms) ]]; }

rabbitmq_vms() {
  local pid
  for pid in $(rabbitmq_processes); do
    [[ $(cat "/proc/$pid/comm" 2>/dev/null) != beam.smp ]] || echo "$pid"
  done
}
