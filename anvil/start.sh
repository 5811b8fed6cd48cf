#!/usr/bin/env bash
# Starts the local chain that anvil/README.md describes, and prints its URL: the only line on stdout.
#
#   anvil/start.sh FOLDER [ARGUMENT...]   its log and pid go there; further arguments go to anvil
#   anvil/start.sh --stop FOLDER          ends the chain that was started with that folder
#
# For work by hand, and for tools that are not ours: `berth devnet up` and the tests start anvil themselves, with the same
# settings. The chain is kept in memory and is gone when it ends.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
block_seconds=0.25
start_seconds=30

fail() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

# Whether the process is still the anvil that was started for this folder, and not another with its number.
lives() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -- "--config-out $2/config.json"; }

stop() {
  local folder pid
  folder=$(realpath -m -- "$1")
  pid=$(cat "$folder/pid" 2>/dev/null) || return 0
  if lives "$pid" "$folder"; then
    kill "$pid"
    while lives "$pid" "$folder"; do sleep 0.05; done
  fi
  rm -f "$folder/pid"
}

start() {
  local folder pid address waited=0
  mkdir -p -- "$1"
  folder=$(realpath -- "$1")
  shift
  pid=$(cat "$folder/pid" 2>/dev/null) && lives "$pid" "$folder" &&
    fail "a chain runs in $folder already (pid $pid)" "anvil/start.sh --stop $folder"
  command -v anvil >/dev/null || fail "anvil is not installed" "run scripts/setup.sh"
  : >"$folder/log"
  # Port 0: the system chooses, and anvil says in its log which. No other program's port is in the way.
  setsid anvil --host 127.0.0.1 --port 0 --chain-id 31337 --hardfork prague --block-time "$block_seconds" --order fifo \
    --gas-limit 30000000 --accounts 15 --mnemonic "$(sed -n 's/.*"mnemonic": "\(.*\)".*/\1/p' "$here/accounts.json")" \
    --config-out "$folder/config.json" "$@" >"$folder/log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$folder/pid"
  until address=$(sed -n 's/^Listening on //p' "$folder/log") && [ -n "$address" ]; do
    if ! kill -0 "$pid" 2>/dev/null || [ $waited -ge $((start_seconds * 20)) ]; then
      kill "$pid" 2>/dev/null || true
      tail -n 5 "$folder/log" >&2
      fail "anvil does not listen" "the reason is above (whole log: $folder/log)"
    fi
    sleep 0.05
    waited=$((waited + 1))
  done
  echo "http://$address"
}

PATH=$here/../.tools/bin:$PATH
case ${1:-} in
  --stop) stop "${2:?which folder?}" ;;
  '' | -*) sed -n '2,8p' "$0" | sed 's/^# \{0,1\}//' >&2 && exit 2 ;;
  *) start "$@" ;;
esac
