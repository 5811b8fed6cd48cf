#!/usr/bin/env bash
# A Slurm cluster of two nodes on one machine, for tests: munged, slurmctld and two slurmd of our own, with their own key,
# sockets, ports and folders, beside whatever Slurm this machine may have.
#
#   scripts/slurm-cluster.sh run COMMAND...   runs it with SLURM_CONF set to a cluster that ends with it
#   scripts/slurm-cluster.sh up FOLDER [LINE...]
#                                             starts one in this empty folder, with further lines in its slurm.conf, and
#                                             prints where that is
#   scripts/slurm-cluster.sh down FOLDER      ends it, and whatever its jobs left running
#   scripts/slurm-cluster.sh start|stop FOLDER DAEMON
#                                             starts or stops one daemon of it: munged, slurmctld, node1, node2
#
# The folder holds all there is of a cluster: `DAEMON.pid` (pid and start time), `DAEMON.log`, keys, sockets, state. Its
# path is a short one: a socket's holds at most 108 bytes.

slurm_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/docker-engine.sh
. "$slurm_root/scripts/docker-engine.sh"
slurm_start_seconds=30

slurm_fail() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  return 1
}

slurm_nodes=(node1 node2)

# Ports that are free now, one for each daemon, and that the system gives to nobody: a daemon finds its own again.
slurm_ports() {
  python3 -c 'import random, socket
given = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
held = []
while len(held) < 3:
    one = socket.socket()
    try: one.bind(("127.0.0.1", random.randrange(10000, given)))
    except OSError: continue
    held.append(one)
print(*(one.getsockname()[1] for one in held))'
}

# slurm_configure FOLDER LINE...: with more processors and memory than there are, since tests wait for one another as it is.
slurm_configure() {
  local folder=$1 host ports at
  host=$(hostname -s)
  read -ra ports < <(slurm_ports)
  cat >"$folder/slurm.conf" <<CONF
ClusterName=berth
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool.%n
SlurmctldPidFile=$folder/slurmctld.run
SlurmdPidFile=$folder/%n.run
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MessageTimeout=10
PartitionName=long Nodes=ALL Default=YES MaxTime=120 State=UP
PartitionName=short Nodes=ALL MaxTime=1 State=UP
CONF
  shift
  for at in 1 2; do
    echo "NodeName=node$at NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[$at]} CPUs=16 RealMemory=32000 State=UNKNOWN"
  done >>"$folder/slurm.conf"
  printf '%s\n' "$@" >>"$folder/slurm.conf"
}

# slurm_spawn FOLDER DAEMON COMMAND...: in a session of its own.
slurm_spawn() {
  local folder=$1 daemon=$2 pid
  shift 2
  SLURM_CONF=$folder/slurm.conf setsid "$@" >>"$folder/$daemon.out" 2>&1 </dev/null &
  pid=$!
  disown "$pid"
  echo "$pid $(engine_born "$pid")" >"$folder/$daemon.pid"
}

slurm_start() {
  local folder=$1
  case $2 in
    munged)
      slurm_spawn "$folder" munged /usr/sbin/munged --foreground --force --num-threads=2 \
        --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munge.run" \
        --log-file="$folder/munge.log" --seed-file="$folder/munge.seed"
      ;;
    slurmctld) slurm_spawn "$folder" slurmctld /usr/sbin/slurmctld -D -i -f "$folder/slurm.conf" ;;
    node1 | node2) slurm_spawn "$folder" "$2" /usr/sbin/slurmd -D -N "$2" -f "$folder/slurm.conf" ;;
    *) slurm_fail "a cluster has no daemon '$2'" "munged, slurmctld, node1, node2" ;;
  esac
}

slurm_stop() {
  local pid='' born=''
  [ ! -f "$1/$2.pid" ] || read -r pid born <"$1/$2.pid"
  engine_end "$pid" "$born"
  rm -f "$1/$2.pid"
}

slurm_lives() {
  local pid='' born=''
  [ ! -f "$1/$2.pid" ] || read -r pid born <"$1/$2.pid"
  engine_lives "$pid" "$born"
}

# slurm_awaits FOLDER DAEMON CONDITION...: fails if it ends before the condition holds.
slurm_awaits() {
  local folder=$1 daemon=$2 until=$((SECONDS + slurm_start_seconds))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! slurm_lives "$folder" "$daemon" || [ $SECONDS -ge $until ]; then return 1; fi
    sleep 0.1
  done
}

slurm_is_idle() {
  [ "$(SLURM_CONF=$1/slurm.conf timeout -s KILL 5 sinfo --noheader --partition=long --format=%T)" = idle ]
}

slurm_up() {
  local folder tries daemon
  folder=$(realpath "$1")
  shift
  [ "$(id -u)" = 0 ] || slurm_fail "only root can start a Slurm cluster" "run this as root" || return 1
  { [ -x /usr/sbin/slurmctld ] && [ -x /usr/sbin/slurmd ] && [ -x /usr/sbin/munged ]; } ||
    slurm_fail "Slurm is not installed" "run scripts/setup.sh test" || return 1
  chmod 755 "$folder" # munge's clients must reach its socket
  mkdir -p "$folder/state"
  (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
  slurm_start "$folder" munged
  slurm_awaits "$folder" munged test -S "$folder/munge.socket" || slurm_told "$folder" munged || return 1
  # A port that was free may be taken meanwhile: then others are chosen.
  for ((tries = 0; tries < 5; tries++)); do
    slurm_configure "$folder" "$@"
    for daemon in slurmctld "${slurm_nodes[@]}"; do slurm_start "$folder" "$daemon"; done
    if slurm_awaits "$folder" slurmctld slurm_is_idle "$folder"; then return; fi
    for daemon in slurmctld "${slurm_nodes[@]}"; do slurm_stop "$folder" "$daemon"; done
    grep -q 'Address already in use' "$folder"/{slurmctld,node1,node2}.log || break
    rm -f "$folder"/{slurmctld,node1,node2}.log
  done
  slurm_told "$folder" Slurm
}

slurm_told() {
  local log
  for log in "$1"/*.log "$1"/*.out; do [ ! -f "$log" ] || tail -n 5 "$log" >&2; done
  slurm_fail "$2 did not come up" "the reason is above"
}

# Jobs' processes, or Slurm's own beside them, by this cluster's configuration in their environment: slurmd's end is not
# theirs.
slurm_steps() {
  local folder
  for folder in $(grep -lzxF "SLURM_CONF=$1/slurm.conf" /proc/[0-9]*/environ 2>/dev/null); do
    folder=${folder%/environ}
    if [ "$(cat "$folder/comm" 2>/dev/null)" = slurmstepd ]; then
      [ "$2" != own ] || echo "${folder#/proc/}"
    elif [ "$2" = jobs ] && grep -qz '^SLURM_JOB_ID=' "$folder/environ" 2>/dev/null; then
      echo "${folder#/proc/}"
    fi
  done
}

slurm_down() {
  local folder pid daemon until=$((SECONDS + 10))
  folder=$(realpath "$1")
  for daemon in slurmctld "${slurm_nodes[@]}"; do slurm_stop "$folder" "$daemon"; done
  # A step that is asked to end clears up after itself.
  for pid in $(slurm_steps "$folder" jobs); do kill -TERM "$pid" 2>/dev/null || true; done
  while [ -n "$(slurm_steps "$folder" jobs)" ] && [ $SECONDS -lt $until ]; do sleep 0.2; done
  for pid in $(slurm_steps "$folder" jobs) $(slurm_steps "$folder" own); do kill -KILL "$pid" 2>/dev/null || true; done
  slurm_stop "$folder" munged
}

slurm_main() {
  set -euo pipefail
  case "${1:-} $#" in
    'run '*)
      shift
      slurm_folder=$(mktemp -d /tmp/berth-slurm.XXXXXX)
      trap 'slurm_down "$slurm_folder"; rm -rf --one-file-system "$slurm_folder"' EXIT
      trap 'exit 130' INT
      trap 'exit 143' TERM
      slurm_up "$slurm_folder"
      SLURM_CONF=$slurm_folder/slurm.conf "$@"
      ;;
    'up '[2-9]) slurm_up "${@:2}" && echo "$(realpath "$2")/slurm.conf" ;;
    'down 2') slurm_down "$2" ;;
    'start 3') slurm_start "$(realpath "$2")" "$3" ;;
    'stop 3') slurm_stop "$(realpath "$2")" "$3" ;;
    *)
      sed -n '2,15p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2
      return 2
      ;;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  slurm_main "$@"
fi
