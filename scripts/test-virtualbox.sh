#!/usr/bin/env bash
# Starts virtual machines under VirtualBox for real, by the worker's own runtime, on a machine whose kernel lacks
# VirtualBox's driver: inside a machine that QEMU emulates, processor's virtualisation included.
#
#   scripts/test-virtualbox.sh [--only CASE]...
#
#   --only   the cases whose names end so; without it all of the worker's conformance suite, and what else starts machines
#
# The machine outside runs Debian's kernel with VirtualBox's driver, built here once from Debian's packages, and the worker's
# tests, one after the other; the machines inside are those of scripts/build-vm-image.sh. All of it is emulated twice
# over: a case takes minutes. Nothing is installed; what is built is kept in .tools/virtualbox/nested (0.5 GB). Needs
# scripts/setup.sh test.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/virtualbox.sh
. "$root/scripts/virtualbox.sh"
# shellcheck source=scripts/attend.sh
. "$root/scripts/attend.sh"
nested=$virtualbox/nested
# What the machine outside may take in all.
limit=${BERTH_NESTED_LIMIT:-7200}
only=()

while [ $# -gt 0 ]; do
  case $1 in
    --only) only+=("$2") ;;
    *) fail "scripts/test-virtualbox.sh knows nothing of '$1'" "scripts/test-virtualbox.sh [--only CASE]..." ;;
  esac
  shift 2
done

work=$(mktemp -d)
trap 'attend_stop; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
log() { printf '%5d s  %s\n' "$SECONDS" "$*"; }

# applets FOLDER: busybox, and a link for each of its programs that is not there.
applets() {
  local name
  cp "$(command -v busybox)" "$1/usr/bin/busybox"
  for name in $(busybox --list); do
    [ -e "$1/usr/bin/$name" ] || [ -e "$1/usr/sbin/$name" ] || [ -L "$1/usr/bin/$name" ] || ln -s busybox "$1/usr/bin/$name"
  done
}

# The kernel, its disk driver, VirtualBox's driver for it, and a root file system with VirtualBox: built once.
build() {
  local wanted packages built=$work/build kernel
  wanted=$({ declare -f sid_packages unpack applets build && cat "$root/scripts/vm/steady.c"; } | sha256sum | cut -d' ' -f1)
  [ "$(cat "$nested/.built" 2>/dev/null)" != "$wanted" ] || return 0
  rm -rf "$nested"
  mkdir -p "$nested"
  log "fetching a kernel, a compiler and VirtualBox from Debian's packages (180 MB)"
  mapfile -t packages < <(sid_packages "$work/packages" base-files virtualbox e2fsprogs linux-image-cloud-amd64 \
    linux-headers-cloud-amd64 virtualbox-dkms gcc make)
  [ ${#packages[@]} -gt 0 ] || exit 1
  unpack "$built" "${packages[@]}"
  applets "$built"
  log "building VirtualBox's driver, and what keeps the kernel steady"
  cat >"$built/build" <<'EOF'
export PATH=/usr/bin:/usr/sbin
for driver in /usr/src/virtualbox-*/vboxdrv /usr/src/steady; do
  make -C /usr/src/linux-headers-*-cloud-amd64 M="$driver" CONFIG_DEBUG_INFO_BTF_MODULES= modules || exit 1
done
EOF
  mkdir "$built/usr/src/steady"
  echo 'obj-m := steady.o' >"$built/usr/src/steady/Makefile"
  cp "$root/scripts/vm/steady.c" "$built/usr/src/steady/"
  # In a view of its own, so that nothing stays mounted.
  # shellcheck disable=SC2016 # for that shell
  unshare --mount sh -c 'mount --bind /dev "$1/dev" && mount -t proc proc "$1/proc" && exec chroot "$1" /bin/sh /build' sh "$built" \
    >"$nested/build.log" 2>&1 </dev/null || fail "VirtualBox's driver can't be built" "see $nested/build.log; this step needs root"
  kernel=$(echo "$built"/usr/lib/modules/*-cloud-amd64)
  cp "$kernel/vmlinuz" "$nested/vmlinuz"
  xz -dc "$kernel/kernel/drivers/block/virtio_blk.ko.xz" >"$nested/virtio_blk.ko"
  cp "$built"/usr/src/virtualbox-*/vboxdrv/vboxdrv.ko "$built"/usr/src/steady/steady.ko "$built/"
  rm -rf "$built"/usr/src "$built"/usr/lib/modules "$built"/usr/lib/gcc "$built"/usr/libexec/gcc "$built"/usr/include "$built"/build
  rm -f "$built"/usr/bin/x86_64-linux-gnu-* "$built"/usr/bin/*-16
  log "making the machine's disk"
  truncate -s 700M "$nested/root.img"
  mke2fs -q -F -t ext4 -O ^has_journal -d "$built" "$nested/root.img"
  rm -rf "$built" "$work/packages"
  echo "$wanted" >"$nested/.built"
}

# What finds the disks and runs the suite.
initial() {
  mkdir -p "$work/initrd"/{bin,root,dev}
  cp "$nested/virtio_blk.ko" "$work/initrd/"
  cp "$(command -v busybox)" "$work/initrd/bin/busybox"
  cp "$root/scripts/vm/nested-init" "$work/initrd/init"
  chmod 755 "$work/initrd/init" "$work/initrd/bin/busybox"
  (cd "$work/initrd" && find . | busybox cpio -o -H newc -R 0:0 2>/dev/null) >"$work/initrd.img"
}

# The cases to run. The probe's is the first: where it fails no other can pass.
cases() {
  local suite=$1 found name
  found=$("$suite" --list | sed -n 's/^\(\(conformance::virtualbox\|virtualbox::started\)::.*\): test$/\1/p')
  { grep '::the_probe_' <<<"$found" && grep -v '::the_probe_' <<<"$found"; } >"$work/all"
  [ ${#only[@]} -gt 0 ] || only=('')
  for name in "${only[@]}"; do
    grep -- "$name\$" "$work/all" || fail "there is no case '$name'" "one of these: $(sed 's/.*:://' "$work/all" | tr '\n' ' ')"
  done
}

# The suite, what it boots, and the cases to run, on a disk of their own: at the paths that the suite was built with.
payload() {
  local suite=$1 tree=$work/payload
  mkdir -p "$tree$root/.tools/virtualbox" "$tree$root/.tools/vm/image" "$tree$root/crates/worker"
  for name in VBoxManage VBoxSVC VBoxHeadless; do
    printf '#!/bin/sh\nexec /usr/lib/virtualbox/%s "$@"\n' $name >"$tree$root/.tools/virtualbox/$name"
    chmod 755 "$tree$root/.tools/virtualbox/$name"
  done
  # Of two emulated processors that both run a machine inside, one waits for the other for ever.
  sed -i 's,^exec,& taskset 2,' "$tree$root/.tools/virtualbox/VBoxHeadless"
  cp "$root"/.tools/vm/image/* "$tree$root/.tools/vm/image/"
  strip -o "$tree/suite" "$suite"
  cases "$suite" >"$tree/cases"
  truncate -s 400M "$work/payload.img"
  mke2fs -q -F -t ext4 -O ^has_journal -d "$tree" "$work/payload.img"
}

"$root/scripts/virtualbox.sh"
build
log "building the suite"
# With all crates, so that none of their dependencies is built anew with other features.
suite=$(cd "$root" && cargo test --locked --workspace --features berth-worker/virtualbox-driver --test it --no-run \
  --message-format json 2>"$work/cargo.log" |
  grep '"src_path":"[^"]*/crates/worker/tests/' | grep -o '"executable":"[^"]*"' | tail -n1 | cut -d'"' -f4) || true
[ -x "$suite" ] || fail "the suite can't be built: $(tail -n3 "$work/cargo.log")" \
  "cargo test --workspace --features berth-worker/virtualbox-driver --test it --no-run"
initial
payload "$suite"
log "starting the machine"
# Emulated: an AMD processor with its virtualisation (SVM) and nested paging. Without XSAVE, which QEMU does not keep apart
# for a machine within the machine: a Linux inside would lose its first program at the first signal. Its clock is said to be
# reliable: of one that stood still for a moment on a busy machine the kernel would else go over to another, by rewriting
# itself (see scripts/vm/steady.c).
processor=EPYC,+svm,+npt,-xsave,-xsaveopt,-xsavec,-xgetbv1,-avx,-avx2,-fma,-f16c
machine=(qemu-system-x86_64 -machine "q35,accel=tcg" -cpu "$processor" -smp 2 -m 3072 -nodefaults
  -no-user-config -display none -no-reboot -nic none -monitor none -serial stdio
  -kernel "$nested/vmlinuz" -initrd "$work/initrd.img" -append "console=ttyS0 quiet panic=-1 tsc=reliable berth=$root"
  -drive "id=r,if=none,file=$nested/root.img,format=raw,snapshot=on" -device "virtio-blk-pci,drive=r"
  -drive "id=p,if=none,file=$work/payload.img,format=raw" -device "virtio-blk-pci,drive=p")
start() {
  timeout --foreground -s KILL "$limit" "${machine[@]}" 2>"$work/qemu.log" | sed -u 's,\r$,,' | tee "$work/said"
}
attend start || true
if grep -qx 'nested: all passed' "$work/said"; then
  log "VirtualBox starts machines as it must"
else
  tail -n 5 "$work/qemu.log" >&2
  fail "VirtualBox does not do as it must, or did not end within $limit s" "the lines above say which case"
fi
