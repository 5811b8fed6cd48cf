#!/usr/bin/env bash
# Measures, and prints one JSON object a line on stdout; all else goes to stderr.
#
#   scripts/bench.sh gas         what each operation costs on chain
#   scripts/bench.sh classes     where that goes, by classes of opcodes, for what costs most
#   scripts/bench.sh latency     what a paid job takes beyond the same `docker run`
#   scripts/bench.sh footprint   what an idle worker holds in memory
#   scripts/bench.sh runtimes    what a worker's container takes beyond `docker run`, its machine beyond bare QEMU
#
# All but gas are measured on release builds (some minutes the first time), on a machine that does nothing else:
# its load is part of each line.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/attend.sh
. scripts/attend.sh
# shellcheck source=scripts/docker-engine.sh
. scripts/docker-engine.sh

case ${1:-} in
  gas | classes) profile=() folder=debug ;;
  latency | footprint | runtimes) profile=(--release) folder=release ;;
  *)
    sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//' >&2
    exit 2
    ;;
esac

export PATH=$root/.tools/bin:$PATH
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

finish() {
  local rc=$?
  trap - EXIT INT TERM
  attend_stop
  engine_release || true
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

{
  if [ "$1" = runtimes ]; then
    attend scripts/setup.sh test
    attend scripts/build-vm-image.sh
  else
    attend scripts/setup.sh
  fi
  attend cargo build -q --locked --workspace --bins "${profile[@]}"
  if [ "$folder" = release ]; then
    engine_acquire
    attend scripts/example-images.sh
  fi
} >&2
attend "$target/$folder/bench" "$@"
