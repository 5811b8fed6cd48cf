#!/usr/bin/env bash
# A paid result, from nothing: a local chain, contracts, a scheduler and five workers; then jobs that are paid for.
#
#   scripts/demo.sh [FILE]
#
# First sixteen tiles of a picture in one deal, each rendered by three workers of different owners, who are paid if they
# agree; verified and joined; then the word frequencies of FILE (the README if none is given). What comes out is in demo-out/. It ends by itself and leaves nothing running; a second run is quick.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
file=$(realpath -- "${1:-$root/README.md}")
cd "$root"
# shellcheck source=scripts/attend.sh
. scripts/attend.sh
# shellcheck source=scripts/docker-engine.sh
. scripts/docker-engine.sh

if ! { [ -f "$file" ] && [ -r "$file" ]; }; then
  printf 'error: %s is no file that can be read\n\nhint: scripts/demo.sh FILE counts the words of FILE\n' "$file" >&2
  exit 1
fi

export PATH=$root/.tools/bin:$PATH
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$root/demo-out
net=''
up=''

say() { printf '\n== %s\n' "$*"; }

# A worker keeps each task's output on a small disk of its own; one that died has left it mounted.
unmount() {
  awk -v under="$net/" 'index($2, under) == 1 {print $2}' /proc/mounts | sort -r | while read -r folder; do
    umount "$folder" || umount -l "$folder"
  done
}

finish() {
  local rc=$?
  trap - EXIT INT TERM
  attend_stop
  if [ -n "$up" ]; then
    say "stopping"
    attend berth devnet down --dir "$net" || rc=1
  fi
  engine_release || rc=1
  [ -z "$net" ] || unmount
  if [ $rc = 0 ]; then
    rm -rf --one-file-system "$net"
  elif [ -n "$net" ]; then
    printf '\nthe devnet is stopped; its logs and databases are still in %s\n' "$net" >&2
  fi
  exit $rc
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

berth() { "$target/debug/berth" "$@"; }
paid() { attend berth --profile "$net/profile.toml" run "$@"; }

say "installing what is missing"
attend scripts/setup.sh
say "building (some minutes the first time)"
# The same set of crates as the tests build, so that neither builds the other's again.
attend cargo build -q --locked --workspace
engine_acquire
attend scripts/example-images.sh

net=$(mktemp -d "${TMPDIR:-/tmp}/berth-demo.XXXXXX")
rm -rf "$out"
mkdir -p "$out"

say "a chain, the contracts, a scheduler, five workers with five owners"
up=yes
attend berth devnet up --dir "$net"

say "sixteen tiles of a picture: sixteen tasks, one deal, three workers a tile; who agreed, and who was paid"
paid berth/render --trust 5 --each 0..16 --out "$out/tiles" -- --grid 4x4 --size 1024
attend "$target/examples/$(rustc -vV | sed -n 's/^host: //p')/release/render" \
  --join "$out/tiles" --grid 4x4 --out "$out/picture.png"

say "the words of ${file##*/}"
paid berth/wordfreq --input "$file" --out "$out/words" -- --top 10
echo
head -n 10 "$out/words/words.txt"

say "done in $SECONDS s"
echo "the picture: $out/picture.png"
