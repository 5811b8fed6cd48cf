#!/usr/bin/env bash
# A Docker engine for as long as somebody here needs one.
#
# Where an engine answers (at DOCKER_HOST, or at the default socket) it is used and left alone. Otherwise a dockerd of
# our own runs, with its own sockets and its own data in .tools/docker; the last one that uses it stops it.
#
#   scripts/docker-engine.sh run COMMAND...   runs it with DOCKER_HOST set to an engine, started if need be
#   scripts/docker-engine.sh status           prints the engine that answers; fails if none does
#   scripts/docker-engine.sh stop             stops our own engine, whoever uses it
#
# Other scripts source it, and call engine_acquire (sets and exports DOCKER_HOST) and, on exit, engine_release.
#
# State in .tools/docker: `engine` (pid, start time and run folder of our dockerd), `users/` (one file per process that
# holds it, named by pid, with that process's start time), `lock` (held while either changes), `data`, `dockerd.log`.
# A pid counts only with its start time, so that what a `kill -9` leaves behind is seen for what it is.

engine_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
engine_state=$engine_root/.tools/docker
engine_start_seconds=60
engine_stop_seconds=20

engine_say() { printf 'docker-engine: %s\n' "$*" >&2; }

# The start time of a process in clock ticks since boot; nothing if it is gone or a zombie.
engine_born() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
  stat=${stat##*) } # the command's name may hold blanks; what follows its bracket does not
  # shellcheck disable=SC2086
  set -- $stat
  [ "$1" = Z ] || echo "${20}"
}

# engine_lives PID BORN
engine_lives() { [ -n "$1" ] && [ -n "$2" ] && [ "$(engine_born "$1")" = "$2" ]; }

# Whether an engine answers at a host, within a deadline.
engine_answers() { DOCKER_HOST=$1 timeout -s KILL 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# Sets our_pid, our_born, our_run from the state file; fails if our engine does not live.
engine_ours() {
  our_pid='' our_born='' our_run=''
  [ -f "$engine_state/engine" ] && read -r our_pid our_born our_run <"$engine_state/engine"
  engine_lives "$our_pid" "$our_born"
}

# Runs a command while holding the lock of the state folder. The lock's descriptor does not reach what it starts.
engine_locked() {
  mkdir -p "$engine_state/users"
  exec {engine_lock}>"$engine_state/lock"
  flock "$engine_lock"
  local rc=0
  "$@" || rc=$?
  exec {engine_lock}>&-
  return $rc
}

# Ends a process by its pid: TERM, a while to comply, then KILL.
engine_end() {
  local pid=$1 born=$2 waited=0
  engine_lives "$pid" "$born" || return 0
  kill -TERM "$pid" 2>/dev/null
  while engine_lives "$pid" "$born" && [ $waited -lt $((engine_stop_seconds * 10)) ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  engine_lives "$pid" "$born" && kill -KILL "$pid" 2>/dev/null
  return 0
}

# Clears what a dead dockerd of ours left: its containerd, its mounts, its run folder.
engine_clear() {
  local run=$1 pid mount
  case $run in */berth-engine.*) ;; *) return 0 ;; esac # never an arbitrary folder
  if [ -f "$run/exec/containerd/containerd.pid" ]; then
    pid=$(cat "$run/exec/containerd/containerd.pid")
    # Only if it is the containerd that was started with this very folder.
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$run/exec"; then
      engine_end "$pid" "$(engine_born "$pid")"
    fi
  fi
  awk -v under="$run/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r mount; do
    umount -l "$mount" 2>/dev/null || true
  done
  rm -rf --one-file-system "$run"
}

engine_start() {
  local run log=$engine_state/dockerd.log pid born waited=0
  engine_ours || engine_clear "$our_run"
  rm -f "$engine_state/engine"
  [ "$(id -u)" = 0 ] || {
    printf 'error: no Docker engine answers, and only root can start one\n\nhint: %s\n' \
      "start Docker and join its group, or set DOCKER_HOST, or run this as root" >&2
    return 1
  }
  command -v dockerd >/dev/null || {
    printf 'error: no Docker engine answers, and dockerd is not installed\n\nhint: run scripts/setup.sh\n' >&2
    return 1
  }
  # The sockets' folder is a short one: a socket's path holds at most 108 bytes.
  run=$(mktemp -d /tmp/berth-engine.XXXXXX)
  chmod 711 "$run" # the socket is its group's to use, as everywhere
  # gVisor, where it is installed. It takes no network from the host's own namespace, and jobs here have none.
  printf '{"runtimes":%s}\n' "$(command -v runsc >/dev/null &&
    printf '{"runsc":{"path":"%s","runtimeArgs":["--platform=ptrace","--network=none"]}}' "$(command -v runsc)" ||
    printf '{}')" >"$run/daemon.json"
  # No bridge and no firewall rules: jobs have no network, and the host's settings stay as they are.
  # A namespace of its own, should dockerd find the system's containerd.
  setsid dockerd --config-file "$run/daemon.json" --host "unix://$run/docker.sock" --data-root "$engine_state/data" --exec-root "$run/exec" \
    --pidfile "$run/dockerd.pid" --containerd-namespace berth --containerd-plugins-namespace berth-plugins \
    --bridge=none --iptables=false --log-level=warn >"$log" 2>&1 </dev/null {engine_lock}>&- &
  pid=$!
  disown "$pid" # else the shell reports its end
  born=$(engine_born "$pid")
  echo "$pid $born $run" >"$engine_state/engine"
  until engine_answers "unix://$run/docker.sock"; do
    if ! engine_lives "$pid" "$born" || [ $waited -ge $((engine_start_seconds * 10)) ]; then
      engine_end "$pid" "$born"
      engine_clear "$run"
      rm -f "$engine_state/engine"
      tail -n 15 "$log" >&2
      printf 'error: dockerd did not come up\n\nhint: the reason is above (whole log: .tools/docker/dockerd.log)\n' >&2
      return 1
    fi
    sleep 0.1
    waited=$((waited + 1))
  done
  engine_ours
}

# Removes the entries of users that are gone.
engine_forget_dead() {
  local file
  for file in "$engine_state"/users/*; do
    [ -e "$file" ] || continue
    engine_lives "${file##*/}" "$(cat "$file")" || rm -f "$file"
  done
}

engine_join() {
  engine_forget_dead
  if ! { engine_ours && engine_answers "unix://$our_run/docker.sock"; }; then
    # Alive but deaf: whoever uses it is served by none, so it may go.
    if engine_ours; then engine_end "$our_pid" "$our_born"; fi
    engine_start || return 1
  fi
  engine_born $$ >"$engine_state/users/$$"
  engine_host=unix://$our_run/docker.sock
}

engine_leave() {
  rm -f "$engine_state/users/$$"
  engine_forget_dead
  [ -z "$(ls -A "$engine_state/users")" ] || return 0
  engine_stop
}

engine_stop() {
  if engine_ours; then engine_end "$our_pid" "$our_born"; fi
  engine_clear "$our_run"
  rm -f "$engine_state/engine"
}

# Where an engine answers that is not ours; fails if none does. A DOCKER_HOST that was given and is silent is an error.
engine_found() {
  if [ -n "${DOCKER_HOST:-}" ]; then
    engine_answers "$DOCKER_HOST" && echo "$DOCKER_HOST" && return
    printf 'error: no Docker engine answers at DOCKER_HOST=%s\n\nhint: %s\n' "$DOCKER_HOST" \
      "start it, or unset DOCKER_HOST to let one be started here" >&2
    return 2
  fi
  engine_answers unix:///var/run/docker.sock && echo unix:///var/run/docker.sock
}

# Exports DOCKER_HOST of an engine that answers, starting our own if there is none.
engine_acquire() {
  local found rc=0
  engine_held=''
  found=$(engine_found) || rc=$?
  case $rc in
    0) export DOCKER_HOST=$found && return ;;
    2) return 1 ;;
  esac
  engine_locked engine_join || return 1
  engine_held=yes
  export DOCKER_HOST=$engine_host
}

# Gives back what engine_acquire took. Safe to call twice, and before anything was acquired.
engine_release() {
  [ -n "${engine_held:-}" ] || return 0
  engine_held=''
  unset DOCKER_HOST
  engine_locked engine_leave
}

engine_main() {
  set -euo pipefail
  case ${1:-} in
    run)
      shift
      trap engine_release EXIT
      trap 'exit 130' INT
      trap 'exit 143' TERM
      engine_acquire
      "$@"
      ;;
    status)
      engine_found && return
      engine_ours && engine_answers "unix://$our_run/docker.sock" && echo "unix://$our_run/docker.sock" && return
      engine_say "no engine answers"
      return 1
      ;;
    stop) engine_locked engine_stop ;;
    *)
      sed -n '2,11p' "${BASH_SOURCE[0]}" | sed 's/^# \{0,1\}//' >&2
      return 2
      ;;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  engine_main "$@"
fi
