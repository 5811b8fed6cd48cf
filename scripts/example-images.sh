#!/usr/bin/env bash
# Builds the images of examples/ into the Docker engine, from nothing: an image is one static program in an empty root.
#
#   scripts/example-images.sh [NAME...]     prints one line an image: its reference and its id
#
# An image's id depends on the program alone (no times, no names of this machine), and what the engine has is kept.
# Uses the engine at DOCKER_HOST or the default socket: see scripts/docker-engine.sh.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(cd "$root" && realpath -m "${CARGO_TARGET_DIR:-target}")/examples
host=$(rustc -vV | sed -n 's/^host: //p')
case $host in
  x86_64-*) architecture=amd64 ;;
  aarch64-*) architecture=arm64 ;;
  *)
    printf 'error: no example is known to run on %s\n\nhint: use Linux on x86_64 or aarch64\n' "$host" >&2
    exit 1
    ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

digest() { sha256sum "$1" | cut -d' ' -f1; }

# A tar file that depends on the names and contents of the files in a folder alone.
pack() { tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=0755 --format=ustar -cf "$2" .; }

# image NAME: writes an archive as `docker save` would, so that the id is known before any engine has seen it.
image() {
  local name=$1 tag=berth/$1:latest folder=$work/$1 id
  mkdir -p "$folder/root" "$folder/archive"
  cp "$target/$host/release/$name" "$folder/root/$name"
  pack "$folder/root" "$folder/archive/layer.tar"
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Entrypoint":["/%s"],"WorkingDir":"/","Labels":{"org.opencontainers.image.title":"%s","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"1970-01-01T00:00:00Z","comment":"one static program"}]}' \
    "$architecture" "$name" "$name" "$(digest "$folder/archive/layer.tar")" >"$folder/archive/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$tag" >"$folder/archive/manifest.json"
  id=sha256:$(digest "$folder/archive/config.json")
  if [ "$(docker image inspect -f '{{.Id}}' "$tag" 2>/dev/null)" != "$id" ]; then
    pack "$folder/archive" "$folder/image.tar"
    docker load -q -i "$folder/image.tar" >/dev/null
  fi
  echo "$tag $(docker image inspect -f '{{.Id}}' "$tag")"
}

# --target keeps the static C library out of build scripts; .cargo/config.toml asks for it, hence the folder.
unset RUSTFLAGS
(cd "$root/examples" && cargo build -q --locked --release --target "$host" --target-dir "$target" </dev/null)
[ $# -gt 0 ] || set -- render wordfreq
for name in "$@"; do
  image "$name"
done
