#!/usr/bin/env bash
# The contracts' own commands. Tools come from contracts/package-lock.json (`npm ci` in contracts/).
#
#   scripts/contracts.sh abi     build, and write what is committed: contracts/abi/*.json, contracts/snapshots/*
#   scripts/contracts.sh check   everything that must hold: format, lint, sizes, tests, and that the committed files
#                                are what the sources give
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root/contracts"
PATH="$PWD/node_modules/.bin:$PATH"

# What Rust and JavaScript bind: contract name, and whether it can be deployed.
artifacts="Assets:src/Assets.sol Berth:src/Berth.sol Recourse:src/Recourse.sol PermitToken:src/mocks/PermitToken.sol IBerth:src/interfaces/IBerth.sol"

fail() {
  echo "contracts.sh: $1" >&2
  exit 1
}

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

# Writes the storage layout, one line a variable, and the code sizes to the folder given.
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
  forge build --sizes --json | node -e '
    const sizes = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
    for (const name of ["Assets", "Berth", "Recourse"]) {
      console.log(`${name} ${sizes[name].runtime_size} bytes, ${sizes[name].runtime_margin} left under EIP-170`);
    }
  ' >"$1/sizes.txt"
}

case "${1:-}" in
  abi)
    forge build
    write_abi abi
    write_layout snapshots
    ;;
  check)
    forge fmt --check || fail "sources are not formatted: run 'forge fmt' in contracts/"
    forge lint --deny warnings src
    forge build --sizes >/dev/null || fail "a contract is larger than EIP-170 allows"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    write_abi "$scratch/abi"
    write_layout "$scratch/snapshots"
    diff -r abi "$scratch/abi" >/dev/null || fail "contracts/abi/ is not what the sources give: run 'scripts/contracts.sh abi'"
    for file in "$scratch"/snapshots/*; do
      diff "snapshots/$(basename "$file")" "$file" || fail "contracts/snapshots/ is out of date: run 'scripts/contracts.sh abi'"
    done
    diff snapshots/layout.Berth.txt snapshots/layout.Recourse.txt || fail "Berth and Recourse see two storage layouts"
    forge test
    ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
