#!/usr/bin/env bash
# Unpacks VirtualBox's programs from Debian's packages into .tools/virtualbox, without installing anything and without its
# kernel driver: enough to make, set up and remove machines with, not to start one. Needs no root.
#
#   scripts/virtualbox.sh           does it, if it has not been done; says nothing
#   scripts/virtualbox.sh version   the version that is there
#
# Its packages are of the newest Debian (sid), whose libraries are newer than those here; so the programs run in a root of
# their own. .tools/virtualbox/VBoxManage, VBoxSVC and VBoxHeadless do that: in there they see all folders of this machine but its
# programs, under their own names. scripts/test-virtualbox.sh adds a kernel and its driver, and starts machines.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
virtualbox=$root/.tools/virtualbox
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# What VirtualBox's packages ask for and its programs don't need here, with versions that suit whatever asks.
needless=(virtualbox-modules systemd-sysusers python3=3.14.99 python3.14=3.14.99 python3-packaging=99 procps=99 iproute2=99
  libgl1=99 libsdl2-2.0-0=99 libvncserver1=99 libxt6t64=99 adduser=999 debconf=9 perl=99 dkms=99 dpkg-dev=99 dracut=999
  linux-initramfs-tool linux-base=99 kmod=99 systemd=999 udev=999 pahole=99 patch=99 xz-utils=99)

fail() {
  printf 'error: %s\n\nhint: %s\n' "$1" "$2" >&2
  exit 1
}

# sid_packages CACHE PACKAGE...: fetches packages and all they need, and names their files. Nothing of this machine's apt is
# touched but its mirror's name.
sid_packages() {
  local cache=$1 mirror name
  shift
  [ -r "$keyring" ] || fail "there is no $keyring" "on Debian: apt-get install debian-archive-keyring"
  # shellcheck disable=SC2016 # apt's own variables
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' |
    awk '$2 == "Debian" && $3 == "Debian" {print $1; exit}')
  [ -n "$mirror" ] || fail "apt knows no mirror of Debian" "run apt-get update, on Debian on x86_64"
  mkdir -p "$cache"/{lists/partial,archives/partial}
  echo "deb [signed-by=$keyring] $mirror sid main contrib" >"$cache/sources.list"
  for name in "${needless[@]}"; do
    local version=${name#*=}
    [ "$version" != "$name" ] || version=1
    printf 'Package: %s\nStatus: install ok installed\nVersion: %s\nArchitecture: amd64\nMulti-Arch: allowed\nMaintainer: x\nDescription: x\n\n' \
      "${name%%=*}" "$version"
  done >"$cache/status"
  cat >"$cache/apt.conf" <<EOF
Dir::State "$cache";
Dir::State::status "$cache/status";
Dir::Cache "$cache";
Dir::Etc::sourcelist "$cache/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
APT::Install-Recommends "false";
APT::Sandbox::User "";
EOF
  {
    APT_CONFIG=$cache/apt.conf apt-get update &&
      APT_CONFIG=$cache/apt.conf apt-get install --download-only -y --no-install-recommends "$@"
  } >"$cache/log" 2>&1 || fail "VirtualBox's packages can't be fetched: $(grep '^E:' "$cache/log" | head -n3)" \
    "see whether this machine reaches its mirror of Debian; whole output: $cache/log"
  find "$cache/archives" -name '*.deb' | sort
}

# unpack FOLDER PACKAGE...: the first one makes the links that the others unpack through.
unpack() {
  local into=$1 package
  shift
  mkdir -p "$into"
  for package in $(printf '%s\n' "$@" | grep /base-files_) "$@"; do dpkg-deb -x "$package" "$into"; done
  rm -rf "$into"/usr/share/{doc,man,locale,virtualbox,lintian,bug} "$into"/usr/lib/virtualbox/{webtest,vboxwebsrv,VBoxDxVk.so,VBoxVMMArm.so}
}

# program NAME: a command of that name in .tools/virtualbox. The folders of this machine are seen at their own names, in a
# view that ends with the command; that of another user needs a name space for users, too.
program() {
  cat >"$virtualbox/$1" <<EOF
#!/bin/sh
# Made by scripts/virtualbox.sh.
root='$virtualbox/root'
name=$1
export root name
[ "\$(id -u)" = 0 ] && as='' || as=--map-root-user
exec unshare \$as --mount sh -c '
  for folder in /*; do
    case \$folder in /usr | /bin | /sbin | /lib* | /etc | /boot) continue ;; esac
    [ -d "\$folder" ] && [ ! -L "\$folder" ] || continue
    mkdir -p "\$root\$folder" && mount --rbind "\$folder" "\$root\$folder" || exit 70
  done
  exec chroot "\$root" "/usr/lib/virtualbox/\$name" "\$@"
' "\$name" "\$@"
EOF
  chmod 755 "$virtualbox/$1"
}

install_virtualbox() {
  local wanted work packages name
  wanted=$(sha256sum "$root/scripts/virtualbox.sh" | cut -d' ' -f1)
  [ "$(cat "$virtualbox/.installed" 2>/dev/null)" != "$wanted" ] || return 0
  echo "virtualbox: unpacking VirtualBox from Debian's packages (60 MB)" >&2
  rm -rf "$virtualbox/root"
  mkdir -p "$virtualbox"
  work=$virtualbox/packages
  mapfile -t packages < <(sid_packages "$work" base-files virtualbox)
  [ ${#packages[@]} -gt 0 ] || exit 1
  unpack "$virtualbox/root" "${packages[@]}"
  rm -rf "$work"
  for name in VBoxManage VBoxSVC VBoxHeadless; do program "$name"; done
  "$virtualbox/VBoxManage" --version >"$virtualbox/version" ||
    fail "VBoxManage does not run in $virtualbox/root" "see whether this machine lets its users make name spaces (unshare --mount)"
  echo "$wanted" >"$virtualbox/.installed"
}

[ "${BASH_SOURCE[0]}" = "$0" ] || return 0
case ${1:-} in
  '') install_virtualbox ;;
  version) cat "$virtualbox/version" ;;
  *) fail "scripts/virtualbox.sh knows nothing of '$1'" "scripts/virtualbox.sh [version]" ;;
esac
