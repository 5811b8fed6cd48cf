#!/usr/bin/env bash
# Runs everything that must hold, as CI does; needs no input, and leaves nothing running.
#
#   scripts/test.sh
#
# A step that fails does not keep the others from running, but for those that all else needs; some go on beside others, and
# are shown when they have ended. The last line counts tests, and a step that fails without one as a failed test. For the
# inner loop: `cargo nextest run -p berth-protocol`, `scripts/docker-engine.sh run scripts/slurm-cluster.sh run cargo
# nextest run`, `FOUNDRY_PROFILE=lite forge test` in contracts/.
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

# Runs a command with its output kept, and notes how long it took.
noted() {
  local log=$1 rc=0
  shift
  SECONDS=0
  "$@" >"$log" 2>&1 || rc=$?
  echo $SECONDS >"$log.took"
  return $rc
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

# note NAME RC SECONDS: adds a step to what the end says, by its log.
note() {
  local verdict=ok
  if ! count "$logs/$1" && [ "$2" != 0 ]; then failed=$((failed + 1)); fi
  [ "$2" = 0 ] || verdict=FAILED
  summary+=$(printf '%-12s %-7s %5d s' "$1" $verdict "$3")$'\n'
  return "$2"
}

# step NAME COMMAND...: notes how it went and how long it took.
step() {
  local name=$1 began=$SECONDS rc=0
  shift
  printf '\n== %s\n' "$name"
  attend shown "$logs/$name" "$@" || rc=$?
  note "$name" $rc $((SECONDS - began))
}

# beside NAME COMMAND...: begins a step that goes on beside those that follow, until `joined NAME`.
declare -A going=()
beside() {
  printf '\n== %s goes on beside the next steps\n' "$1"
  attend_begin noted "$logs/$1" "${@:2}"
  going[$1]=$begun
}
joined() {
  local rc=0
  attend_end "${going[$1]}" || rc=$?
  unset "going[$1]"
  printf '\n== %s\n' "$1"
  cat "$logs/$1"
  note "$1" $rc "$(cat "$logs/$1.took")"
}

# Whatever follows needs this step: without it, the end is now.
must() { step "$@" || close; }

close() {
  local name
  for name in "${!going[@]}"; do joined "$name" || true; done
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
# Compilers of two kinds, of which neither keeps both cores busy.
beside contracts scripts/contracts.sh check
step scripts shellcheck -x -S warning scripts/*.sh anvil/*.sh || true
step format rust_format || true
step licences cargo deny --locked check bans licenses sources || true
step lint rust_lint || true
must build cargo build --locked --workspace --all-targets
must images scripts/example-images.sh
must machine scripts/build-vm-image.sh
# Of a distribution that changes by the day: without it only its own tests fail.
step virtualbox scripts/virtualbox.sh || true
joined contracts || true
# Two a core: what they wait for is elsewhere, half of the time.
step tests scripts/slurm-cluster.sh run cargo nextest run --locked --workspace --no-tests=fail \
  --test-threads $(($(nproc) * 2)) || true
beside doc-tests cargo test --locked --workspace --doc -q
step demo scripts/demo.sh || true
joined doc-tests || true
step examples examples_test || true
close
