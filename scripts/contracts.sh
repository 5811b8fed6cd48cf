#!/usr/bin/env bash
# The contracts' own commands. Tools come from contracts/package-lock.json (`npm ci` in contracts/).
#
#   scripts/contracts.sh abi     build, and write what is committed: contracts/abi/*.json, contracts/snapshots/*
#   scripts/contracts.sh test    the tests, on what is deployed; further arguments are forge's
#   scripts/contracts.sh check   everything that must hold: format, lint, analysis, sizes, tests, branches, and that the
#                                committed files are what the sources give
#
# Parts of `check`, by themselves:
#
#   scripts/contracts.sh analyse    slither
#   scripts/contracts.sh coverage   the branches that tests go into, which must be 98 of 100
#   scripts/contracts.sh attacks    whether docs/attacks.md names the attacks' tests, and no others
#
# Long ones, for whoever changes what they are about:
#
#   scripts/contracts.sh defences [NAME...]      removes each defence, one after the other, and shows its test fail
#   scripts/contracts.sh mutate [COUNT [SEED [MINUTES]]]   a sample of small changes, and which of them no test notices
#   scripts/contracts.sh prove [NAME]            what halmos proves (docs/proofs.md)
#   scripts/contracts.sh deep [SEED]             the invariants, over a million calls
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root/contracts"
PATH="$PWD/node_modules/.bin:$PATH"

fail() {
  echo "contracts.sh: $1" >&2
  exit 1
}

command -v forge >/dev/null || fail "forge is missing: run scripts/setup.sh"

# What Rust and JavaScript bind: contract name, and whether it can be deployed.
artifacts="Assets:src/Assets.sol Berth:src/Berth.sol Recourse:src/Recourse.sol PermitToken:src/mocks/PermitToken.sol ResultBox:src/mocks/ResultBox.sol IBerth:src/interfaces/IBerth.sol"

# Writes {contractName, abi, bytecode} of every artifact to the folder given.
write_abi() {
  mkdir -p "$1"
  for artifact in $artifacts; do
    node -e '
      const fs = require("node:fs");
      const [source, name, target] = process.argv.slice(1);
      const built = JSON.parse(fs.readFileSync(`out/${source.split("/").pop()}/${name}.json`, "utf8"));
      const kept = { contractName: name, abi: built.abi };
      if (built.bytecode.object !== "0x") kept.bytecode = { object: built.bytecode.object };
      fs.writeFileSync(`${target}/${name}.json`, JSON.stringify(kept, null, 1) + "\n");
    ' "${artifact#*:}" "${artifact%%:*}" "$1"
  done
}

# Writes the storage layouts, one line a variable, and the code sizes to the folder given.
write_layout() {
  mkdir -p "$1"
  for name in Berth Recourse; do
    forge inspect "$name" storageLayout --json | node -e '
      const layout = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
      for (const { label, slot, offset, type } of layout.storage) {
        console.log(`${slot}.${offset} ${label} ${type.replace(/\)\d+(_storage)?/g, ")")}`);
      }
    ' >"$1/layout.$name.txt"
  done
  forge build src --sizes --json | node -e '
    const sizes = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    for (const name of ["Assets", "Berth", "Recourse"]) {
      console.log(`${name} ${sizes[name].runtime_size} bytes, ${sizes[name].runtime_margin} left under EIP-170`);
    }
  ' >"$1/sizes.txt"
}

# Tests what `forge build src` has built, the optimised contracts that are deployed, by tests that are built without the
# optimiser: it would take minutes over them, and gains nothing.
run_tests() {
  FOUNDRY_PROFILE=lite FOUNDRY_FUZZ_RUNS=256 FOUNDRY_INVARIANT_RUNS=32 BERTH_ARTIFACTS=out forge test "$@"
}

# What slither looks for in vain here, each with its reason; exceptions at one place stand at that place.
not_looked_for() {
  printf '%s,' \
    assembly `# takes a decision record and a gas number, not an analyser's advice` \
    incorrect-shift `# takes "shl(1, offset)" in assembly for a mistake` \
    too-many-digits `# powers of two in assembly` \
    cyclomatic-complexity `# the loop over a batch is one function for its gas` \
    naming-convention `# immutables are in capitals, as the linter wants them` \
    timestamp `# deadlines are minutes to days: beyond what a validator can shift` \
    uninitialized-local `# a struct in memory begins as zeros, which is how settlements begin` \
    unused-state | sed 's/,$//' # Berth and Recourse see one layout, and neither uses all of it
}

# Slither cleans and builds as it likes: in a copy.
analyse() {
  "$root/scripts/setup.sh" test
  local copy
  copy="$(mktemp -d)"
  cp -r src bin foundry.toml "$copy"
  ln -s "$PWD/node_modules" "$copy/node_modules"
  (cd "$copy" && FOUNDRY_PROFILE=lite PYTHONPATH="$root/.tools/slither" python3 -m slither . --exclude-dependencies \
    --filter-paths 'node_modules|src/mocks' --exclude "$(not_looked_for)") || fail "slither has findings (in $copy)"
  rm -rf "$copy"
}

# Branches and lines that no test goes into, and the share of branches, which must be 98 of 100. Branches of assembly
# (`if`, `switch`) count as others do; without the IR and the optimiser all lines can be told apart.
coverage() {
  local lines
  lines="$(mktemp)"
  # Gas and sizes mean nothing in this build, and sequences go where tests went before.
  FOUNDRY_PROFILE=coverage forge coverage --no-match-coverage '(node_modules|test|mocks)' \
    --no-match-path 'test/{gas,invariant,proofs}/*' --no-match-contract '^Shape$' \
    --report lcov --report-file "$lines" >"$lines.log" || { tail -n 40 "$lines.log"; fail "tests fail in the build for coverage"; }
  awk -F'[:,]' '
    /^SF:/ { file = $2 }
    /^DA:/ { if ($3 == 0) print "not reached: " file ":" $2 }
    /^BRDA:/ { all++; if ($5 == "-" || $5 == 0) print "branch not taken: " file ":" $2; else taken++ }
    END { printf "%d of %d branches: %.2f %%\n", taken, all, 100 * taken / all; exit !(taken >= 0.98 * all) }
  ' "$lines" || fail "fewer than 98 % of the branches are tested"
  rm -f "$lines" "$lines.log"
}

# Each test that the table names is there, and each test of an attack is in the table.
attacks() {
  local named there
  named="$(grep -o '`test[A-Za-z_0-9]*`' "$root/docs/attacks.md" | tr -d '`' | sort -u)"
  there="$(grep -rhoE 'function (test\w*|invariant_\w*)' test | cut -d' ' -f2 | sort -u)"
  comm -23 <(echo "$named") <(echo "$there") | sed 's/^/no such test: /' | grep . && fail "docs/attacks.md names tests that are not there"
  there="$(grep -hoE 'function test\w*' test/attacks/*.sol | cut -d' ' -f2 | sort -u)"
  comm -13 <(echo "$named") <(echo "$there") | sed 's/^/not in the table: /' | grep . && fail "docs/attacks.md lacks tests of test/attacks/"
  return 0
}

case "${1:-}" in
  abi)
    forge build src
    write_abi abi
    write_layout snapshots
    run_tests --match-contract '^Gas$' --gas-snapshot-emit=true
    ;;
  check)
    forge fmt --check || fail "sources are not formatted: run 'forge fmt' in contracts/"
    # Tests cast as they please.
    forge lint --deny warnings src || fail "sources have lint warnings"
    attacks
    analyse
    coverage
    forge build src --sizes >/dev/null || fail "a contract is larger than EIP-170 allows"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    write_abi "$scratch/abi"
    write_layout "$scratch/snapshots"
    diff -r abi "$scratch/abi" >/dev/null || fail "contracts/abi/ is not what the sources give: run 'scripts/contracts.sh abi'"
    for file in "$scratch"/snapshots/*; do
      diff "snapshots/$(basename "$file")" "$file" || fail "contracts/snapshots/ is out of date: run 'scripts/contracts.sh abi'"
    done
    diff snapshots/layout.Berth.txt snapshots/layout.Recourse.txt || fail "Berth and Recourse see two storage layouts"
    run_tests --gas-snapshot-check=true --gas-snapshot-emit=false ||
      fail "tests fail, or cost other gas than snapshots/Gas.json says (then run 'scripts/contracts.sh abi')"
    ;;
  test)
    forge build src
    run_tests "${@:2}"
    ;;
  analyse | coverage | attacks) "$1" ;;
  defences) exec python3 "$root/scripts/defences.py" "${@:2}" ;;
  mutate) exec python3 "$root/scripts/mutate.py" "${@:2}" ;;
  prove)
    "$root/scripts/setup.sh" analysis
    # Proofs are about the sources as they are written: no optimiser, no IR. Solvers come with halmos.
    FOUNDRY_PROFILE=prove PYTHONPATH="$root/.tools/halmos" PATH="$root/.tools/halmos/bin:$PATH" python3 -m halmos \
      --forge-build-out out-prove --match-contract '^ProofsOf' --function "${2:-check_}" \
      --solver-timeout-assertion 300000
    ;;
  deep)
    forge build src
    seed="${2:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}"
    # In parts, so that a run that is broken off has told how far it came, and a failure names its part's seed.
    for part in $(seq 1 16); do
      FOUNDRY_PROFILE=deep BERTH_ARTIFACTS=out FOUNDRY_FUZZ_SEED=$(printf '0x%x' $((seed + part))) forge test \
        --match-contract '^Invariants$' --match-test invariant_AllHold | grep -E '^\[(PASS|FAIL)' ||
        fail "a statement does not hold: scripts/contracts.sh deep $((seed + part - 1)) finds it first"
      echo "part $part of 16, seed $((seed + part)): $((part * 64)),000 calls in $SECONDS s"
    done
    ;;
  *)
    sed -n '2,21s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
