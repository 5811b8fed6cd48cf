#!/usr/bin/env bash
# Sourced by scripts that run long commands and must clean up when they are told to end.
#
# A shell that waits for a command in the foreground does not hear TERM before the command ends. `attend COMMAND...` runs
# it in a process group of its own, without standard input, and waits so that a trap runs at once; `attend_stop`, in that
# trap, ends the whole group.

attended=''

attend() {
  local rc=0
  set -m
  "$@" </dev/null &
  attended=$!
  set +m
  wait "$attended" || rc=$?
  attended=''
  return $rc
}

attend_stop() {
  [ -n "$attended" ] || return 0
  local group=$attended waited=0
  attended=''
  kill -TERM -- "-$group" 2>/dev/null || return 0
  while kill -0 -- "-$group" 2>/dev/null && [ $waited -lt 100 ]; do
    sleep 0.1
    waited=$((waited + 1))
  done
  kill -KILL -- "-$group" 2>/dev/null || true
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//' >&2
  exit 2
fi
