#!/usr/bin/env bash
# Runs everything that must hold, as CI does; needs no input, and leaves nothing running.
#
#   scripts/test.sh
#
# A step that fails does not keep the others from running, but for those that all else needs. The last line counts tests,
# and a step that fails without one as a failed test. For the inner loop: `cargo nextest run -p berth-protocol`,
# `scripts/docker-engine.sh run scripts/slurm-cluster.sh run cargo nextest run`, `FOUNDRY_PROFILE=lite forge test` in contracts/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/attend.sh
. scripts/attend.sh
# shellcheck source=scripts/docker-engine.sh
. scripts/docker-engine.sh

export PATH=$root/.tools/bin:$root/.tools/python/bin:$PATH
export CARGO_TERM_PROGRESS_WHEN=never
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
logs=$(mktemp -d)
summary=''
passed=0
failed=0

finish() {
  local rc=$?
  trap - EXIT INT TERM
  attend_stop
  engine_release || true
  rm -rf "$logs"
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Runs a command with its output shown and kept.
shown() {
  local log=$1
  shift
  "$@" 2>&1 | tee "$log"
}

# Adds the tests that a log tells of: nextest's, forge's and cargo's closing lines.
count() {
  local counted
  counted=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    / tests? run: / { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed|^timed/) f += $i } }
    /^Ran [0-9]+ test suites?.*tests passed/ { for (i = 1; i < NF; i++) { if ($(i+2) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i } }
    /^test result: / { for (i = 1; i < NF; i++) { if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i } }
    END { print p + 0, f + 0 }')
  passed=$((passed + ${counted% *}))
  failed=$((failed + ${counted#* }))
  [ "${counted#* }" != 0 ]
}

# step NAME COMMAND...: notes how it went and how long it took.
step() {
  local name=$1 began=$SECONDS rc=0 log=$logs/step verdict=ok
  shift
  printf '\n== %s\n' "$name"
  attend shown "$log" "$@" || rc=$?
  if ! count "$log" && [ $rc != 0 ]; then failed=$((failed + 1)); fi
  [ $rc = 0 ] || verdict=FAILED
  summary+=$(printf '%-12s %-7s %5d s' "$name" "$verdict" $((SECONDS - began)))$'\n'
  return $rc
}

# Whatever follows needs this step: without it, the end is now.
must() { step "$@" || close; }

close() {
  printf '\n%sin all %18d s\n\n%d passed, %d failed\n' "$summary" "$SECONDS" "$passed" "$failed"
  [ "$failed" = 0 ] || exit 1
  exit 0
}

# Names the files: their differences are for `cargo fmt` to mend, not for a log.
rust_format() { cargo fmt --all --check -- -l && cd examples && cargo fmt --all --check -- -l; }
rust_lint() {
  cargo clippy --locked --workspace --all-targets -- -D warnings &&
    cd examples && cargo clippy --locked --workspace --all-targets --target-dir "$target/examples" -- -D warnings
}
examples_test() { cd examples && cargo test --locked --workspace --target-dir "$target/examples"; }
engine_start_step() { engine_acquire && docker version --format 'Docker engine {{.Server.Version}} at '"$DOCKER_HOST"; }

must setup scripts/setup.sh test
# In this shell: the engine is held by it, and DOCKER_HOST reaches every step.
printf '\n== engine\n'
engine_start_step || { failed=1 && close; }
step scripts shellcheck -x -S warning scripts/*.sh anvil/*.sh || true
step format rust_format || true
step licences cargo deny --locked check bans licenses sources || true
step contracts scripts/contracts.sh check || true
step lint rust_lint || true
must build cargo build --locked --workspace --all-targets
must images scripts/example-images.sh
must machine scripts/build-vm-image.sh
# Of a distribution that changes by the day: without it only its own tests fail.
step virtualbox scripts/virtualbox.sh || true
step tests scripts/slurm-cluster.sh run cargo nextest run --locked --workspace --no-tests=fail || true
step doc-tests cargo test --locked --workspace --doc -q || true
step examples examples_test || true
step demo scripts/demo.sh || true
close
