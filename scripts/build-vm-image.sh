#!/usr/bin/env bash
# Builds a small Linux virtual machine from Debian packages, as docs/guest-contract.md wants it: a kernel, and busybox
# with an init that runs one job.
#
#   scripts/build-vm-image.sh [--out FOLDER] [--add FOLDER] [--entry PROGRAM]
#
#   --out     where to (.tools/vm/image if left out)
#   --add     files to put into the machine's root, such as a static program
#   --entry   which of the machine's programs gets the job's arguments; without it the job names its program
#
# Makes `machine.json` (kernel and initial file system, booted directly: the quick one) and the same as disks that boot by
# themselves, `disk.qcow2`, `disk.vdi`, `disk.raw` and the live CD `disk.iso`; prints a line for each: its file and its digest.
# The same packages and files give the same bytes of machine.json, of the live CD, and of the disks' contents. Needs no root.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.tools/vm
out=$cache/image
add=''
entry=''
# What init loads, by what it finds.
modules=(drivers/virtio/virtio{,_ring,_pci,_pci_legacy_dev,_pci_modern_dev,_mmio} drivers/block/virtio_blk
  drivers/char/virtio_console net/core/failover drivers/net/{net_failover,virtio_net}
  drivers/scsi/{scsi_common,scsi_mod,sd_mod} drivers/ata/{libata,ata_piix} drivers/acpi/button drivers/input/evdev)

fail() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$(realpath -m "$2") ;;
    --add) add=$(realpath "$2") ;;
    --entry) entry=$2 ;;
    *)
      sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
  shift 2
done

# What is made is of one day: FAT's and a CD's first.
day=315619200
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache" "$out"

digest() { sha256sum "$1" | cut -d' ' -f1; }

# The kernel of the release for virtual machines, unpacked once: from the archive that apt knows, not installed.
kernel() {
  local package
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" {print $2; exit}')
  if [ -z "$package" ]; then
    # Without apt's lists an earlier kernel still does.
    package=$(find "$cache" -maxdepth 1 -name 'linux-image-*' -type d -printf '%f\n' 2>/dev/null | sort -V | tail -n1)
  fi
  [ -n "$package" ] || fail "apt knows no linux-image-cloud-amd64" "run apt-get update, on Debian on x86_64"
  if [ ! -d "$cache/$package" ]; then
    (cd "$work" && apt-get download "$package" >"$work/log" 2>&1) ||
      fail "$package can't be fetched: $(tail -n1 "$work/log")" "run apt-get update"
    dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
    mv "$work/kernel" "$cache/$package.$$"
    mv -T "$cache/$package.$$" "$cache/$package" 2>/dev/null || rm -rf "${cache:?}/$package.$$"
  fi
  echo "$cache/$package"
}

# The root file system of the machine, all in memory.
initial() {
  local from=$1 into=$2 tree=$work/tree module file
  mkdir -p "$tree"/{bin,dev,proc,sys,etc,berth,iexec,iexec_in,iexec_out,tmp,lib/modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  # A link called busybox would link to itself.
  for file in $(busybox --list); do [ "$file" = busybox ] || ln -s busybox "$tree/bin/$file"; done
  cp "$root/scripts/vm/init" "$tree/init"
  chmod 755 "$tree/init" "$tree/bin/busybox"
  printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/iexec:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
  for module in "${modules[@]}"; do
    # One that is absent is built in.
    for file in "$from"/lib/modules/*/kernel/"$module".ko; do [ ! -e "$file" ] || cp "$file" "$tree/lib/modules/"; done
  done
  [ -z "$add" ] || cp -r --no-preserve=ownership,timestamps "$add/." "$tree/"
  if [ -n "$entry" ]; then
    printf '#!/bin/sh\nexec %s "$@"\n' "$entry" >"$tree/entry"
    chmod 755 "$tree/entry"
  fi
  find "$tree" -exec touch -h -d @0 {} +
  (cd "$tree" && find . | LC_ALL=C sort | busybox cpio -o -H newc -R 0:0 --ignore-devno --renumber-inodes 2>/dev/null) >"$into"
}

# A disk that boots by itself: a FAT file system with the boot loader, the wrapped kernel and the same file system.
disk() {
  local from=$1 raw=$out/disk.raw
  gzip -9n <"$work/initrd" >"$work/initrd.gz"
  cp "$from" "$work/vmlinuz"
  printf 'DEFAULT berth\nPROMPT 0\nLABEL berth\n  KERNEL vmlinuz\n  INITRD initrd.gz\n  APPEND console=ttyS0 quiet panic=-1\n' >"$work/syslinux.cfg"
  rm -f "$raw"
  truncate -s 40M "$raw"
  mformat -i "$raw" -T 81920 -h 64 -s 32 -H 0 -N 42455254 -v BERTH ::
  touch -d "@$day" "$work"/{syslinux.cfg,initrd.gz,vmlinuz}
  mcopy -m -i "$raw" "$work/syslinux.cfg" "$work/initrd.gz" "$work/vmlinuz" ::
  syslinux --install "$raw"
  qemu-img convert -q -f raw -O qcow2 -c "$raw" "$out/disk.qcow2"
  qemu-img convert -q -f raw -O vdi "$raw" "$out/disk.vdi"
}

# The same as a CD.
live_cd() {
  local tree=$work/cd
  mkdir -p "$tree/isolinux"
  cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/vmlinuz" "$work/initrd.gz" "$tree/isolinux/"
  cp "$work/syslinux.cfg" "$tree/isolinux/isolinux.cfg"
  find "$tree" -exec touch -d "@$day" {} +
  SOURCE_DATE_EPOCH=$day xorriso -as mkisofs -quiet -V BERTH -o "$out/disk.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
    -no-emul-boot -boot-load-size 4 -boot-info-table "$tree" 2>"$work/log" || fail "the CD can't be made: $(tail -n1 "$work/log")" \
    "install xorriso, isolinux and syslinux-common"
}

kernel=$(kernel)
wrapped=$(find "$kernel/boot" -name 'vmlinuz-*')
initial "$kernel" "$work/initrd"
cp "$wrapped" "$out/vmlinuz"
cp "$work/initrd" "$out/initrd"
printf '{"append":"console=ttyS0 quiet panic=-1 reboot=t","initrd":{"file":"initrd","sha256":"%s"},"kernel":{"file":"vmlinuz","sha256":"%s"},"version":1}' \
  "$(digest "$out/initrd")" "$(digest "$out/vmlinuz")" >"$out/machine.json"
disk "$wrapped"
live_cd
for file in machine.json disk.qcow2 disk.vdi disk.raw disk.iso; do
  echo "$out/$file sha256:$(digest "$out/$file")"
done
