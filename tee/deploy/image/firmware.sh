#!/bin/bash
# Make the guest's firmware, OvmfPkg/AmdSev, from Debian's source of edk2: Debian ships builds of OVMF that do not check what
# they start. It takes some minutes.
#
# The bytes are those of one version of gcc: publish the file with the measurement, or build both in one container.
#
#   firmware.sh FILE [--mirror URL]      (apt install gcc g++ make nasm acpica-tools uuid-dev python3 patch xz-utils curl)
set -euo pipefail
export LC_ALL=C TZ=UTC PYTHON_COMMAND=python3
here=$(cd "$(dirname "$0")" && pwd)
. "$here/pins"
export SOURCE_DATE_EPOCH
out=$(realpath -m "${1:?name a file to make}") mirror=http://snapshot.debian.org/archive/debian/$STAMP
[ "${2:-}" != --mirror ] || mirror=$3
# always at the same place: the paths of the build end up in the firmware
work=/tmp/bastionlab-firmware
mkdir -m 700 "$work"
trap 'rm -rf "$work"' EXIT
cd "$work"
for part in "edk2_$EDK2.orig.tar.xz $EDK2_ORIG" "edk2_$EDK2-$EDK2_DEBIAN.debian.tar.xz $EDK2_PATCHES"; do
    set -- $part
    curl --fail --silent --show-error --output "$1" "$mirror/pool/main/e/edk2/$1"
    echo "$2  $1" | sha256sum --quiet --check
done
mkdir src
tar -C src --strip-components=1 -xf edk2_*.orig.tar.xz
tar -C src -xf edk2_*.debian.tar.xz
cd src
grep -v '^#' debian/patches/series | while read -r patch; do patch --quiet --strip=1 < "debian/patches/$patch"; done
# AmdSev can carry a boot loader for encrypted disks; started with a kernel it is never used
: > OvmfPkg/AmdSev/Grub/grub.efi
make --quiet -C BaseTools > ../tools.log 2>&1 || { tail -n 20 ../tools.log >&2; exit 1; }
set +u
set --  # it reads the arguments of who sources it
. ./edksetup.sh > /dev/null
set -u
build -q -a X64 -t GCC5 -b RELEASE -p OvmfPkg/AmdSev/AmdSevX64.dsc > ../build.log 2>&1 || { tail -n 20 ../build.log >&2; exit 1; }
cp Build/AmdSev/RELEASE_GCC5/FV/OVMF.fd "$out"
sha256sum "$out"
