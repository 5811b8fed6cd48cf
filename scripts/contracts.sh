#!/usr/bin/env bash
# The contracts' own commands. Tools come from contracts/package-lock.json (`npm ci` in contracts/).
#
#   scripts/contracts.sh abi     build, and write what is committed: contracts/abi/*.json, contracts/snapshots/*
#   scripts/contracts.sh test    the tests, on what is deployed; further arguments are forge's
#   scripts/contracts.sh check   everything that must hold: format, lint, sizes, tests, and that the committed files
#                                are what the sources give
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
  *)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
