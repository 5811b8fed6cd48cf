#!/usr/bin/env bash
# Sourced by scripts that run long commands and must clean up when they are told to end.
#
# A shell that waits for a command in the foreground does not hear TERM before the command ends. `attend COMMAND...` runs
# it in a process group of its own, without standard input, and waits so that a trap runs at once. `attend_begin COMMAND...`
# only starts it, and sets `begun` to what `attend_end` waits for. `attend_stop`, in that trap, ends all such groups.

declare -A attended=()
begun=''

attend_begin() {
  set -m
  "$@" </dev/null &
  begun=$!
  set +m
  attended[$begun]=yes
}

attend_end() {
  local rc=0
  wait "$1" || rc=$?
  unset "attended[$1]"
  return $rc
}

attend() {
  attend_begin "$@"
  attend_end "$begun"
}

attend_stop() {
  local group waited=0
  for group in "${!attended[@]}"; do kill -TERM -- "-$group" 2>/dev/null || unset "attended[$group]"; done
  while [ ${#attended[@]} -gt 0 ] && [ $waited -lt 100 ]; do
    sleep 0.1
    waited=$((waited + 1))
    for group in "${!attended[@]}"; do kill -0 -- "-$group" 2>/dev/null || unset "attended[$group]"; done
  done
  for group in "${!attended[@]}"; do kill -KILL -- "-$group" 2>/dev/null || true; done
  attended=()
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  sed -n '2,6p' "$0" | sed 's/^# \{0,1\}//' >&2
  exit 2
fi
