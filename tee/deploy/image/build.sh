#!/bin/bash
# Make a guest image whose measurement anybody can work out again: kernel, initrd, command line, root disk under dm-verity.
#
#   tee/deploy/image/build.sh OUT [--mirror URL] [--security URL] [--keys DIR] [--wheels DIR] [--commit C]
#
#   OUT         folder to make: vmlinuz, initrd, cmdline, root.img (squashfs, then its hash tree), manifest, SHA256SUMS
#   --mirror    archive of Debian's packages, --security of its security updates. Default: snapshot.debian.org at the second
#               in `pins`, which gives the same packages for ever. Another gives the same image as long as its packages are
#               those of the manifest
#   --keys      key folder of a server (owners/NAME.pub ...): who may speak to it is a part of the measurement
#   --wheels    folder with the files of requirements.lock; without it pip downloads them
#
#   --commit    what runs there; default: the commit that is checked out. Nothing that is not committed is in the image
#
# Two runs give the same bytes with the
# same versions of mmdebstrap, squashfs-tools, cryptsetup, cpio and zstd; `tools` in OUT names them. Needs no root where
# mmdebstrap may make a user namespace.
set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

here=$(cd "$(dirname "$0")" && pwd)
source_tree=$(git -C "$here" rev-parse --show-toplevel)
. "$here/pins"
export SOURCE_DATE_EPOCH
mirror=http://snapshot.debian.org/archive/debian/$STAMP
security=http://snapshot.debian.org/archive/debian-security/$STAMP
keys='' wheels='' out='' commit=HEAD
while [ $# -gt 0 ]; do
    case $1 in
        --mirror) mirror=$2; shift 2 ;;
        --security) security=$2; shift 2 ;;
        --keys) keys=$(cd "$2" && pwd); shift 2 ;;
        --wheels) wheels=$(cd "$2" && pwd); shift 2 ;;
        --commit) commit=$2; shift 2 ;;
        -*) echo "build.sh: $1 is no option of it (see the top of the file)" >&2; exit 2 ;;
        *) out=$1; shift ;;
    esac
done
[ -n "$out" ] || { echo "build.sh: name a folder to make" >&2; exit 2; }
for tool in mmdebstrap mksquashfs veritysetup cpio zstd depmod readelf xz git python3; do
    PATH=$PATH:/sbin:/usr/sbin command -v $tool >/dev/null || {
        echo "build.sh: there is no $tool here (apt install mmdebstrap squashfs-tools cryptsetup-bin cpio zstd kmod binutils xz-utils git python3)" >&2
        exit 3
    }
done
PATH=$PATH:/sbin:/usr/sbin

[ ! -e "$out" ] || { echo "build.sh: $out is there already" >&2; exit 2; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+rwX "$work" 2>/dev/null; rm -rf "$work"' EXIT

say() { echo "· $*" >&2; }
# debian PACKAGES FOLDER: packages and what they need, unpacked. No code of theirs runs while the image is made
debian() {
    cat > "$work/list" <<'LIST'
set -eu
cd "$1/var/cache/apt/archives"
sha256sum *.deb >> "$2"
LIST
    mmdebstrap --quiet --variant=extract --include="$1" --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='APT::Install-Recommends "false"' --extract-hook="sh $work/list \"\$1\" $work/packages" \
        "$SUITE" "$2.tar" "deb $mirror $SUITE main" "deb $security $SUITE-security main"
    mkdir "$2"
    tar -C "$2" --no-same-owner --same-permissions --exclude='./dev/*' -xf "$2.tar"
    rm "$2.tar"
}

# ---- what the server needs of Python, and the server ---------------------------------------------------------------------
say "the server and its libraries"
if [ -z "$wheels" ]; then
    wheels=$work/wheels
    platforms=$(printf -- '--platform manylinux_2_%s_x86_64 ' 28 27 26 24 17 12 5)
    # shellcheck disable=SC2086
    python3 -m pip download --quiet --disable-pip-version-check --dest "$wheels" --require-hashes --no-deps --only-binary=:all: \
        --implementation cp --python-version "$PYTHON" --abi "cp${PYTHON/./}" --abi abi3 --abi none $platforms \
        -r "$here/requirements.lock"
fi
packages=$work/dist-packages
mkdir "$packages"
python3 "$here/unpack.py" "$here/requirements.lock" "$wheels" "$packages"
git -C "$source_tree" -c tar.umask=0022 archive --format=tar "$commit" \
    plan/bastion_plan policy/bastion_policy wire/bastion_wire tee/bastion_tee server/bastion_server \
    | tar -C "$packages" --strip-components=1 -xf -

# ---- the root disk --------------------------------------------------------------------------------------------------------
say "the root disk: Debian's $ROOT_PACKAGES"
root=$work/root
debian "$ROOT_PACKAGES" "$root"
(
    cd "$root"
    # what says where and when the image was made, and what only package managers and readers need
    rm -rf usr/share/{doc,man,info,locale,lintian,bug} var/cache var/log var/lib/apt var/lib/dpkg etc/apt
    rm -rf etc/machine-id etc/resolv.conf etc/.pwd.lock
    find . -name __pycache__ -prune -exec rm -rf {} +
    for applet in sh mount umount mkdir cp chmod cat ip udhcpc poweroff sleep env hostname ls; do
        [ -e "usr/bin/$applet" ] || ln -s busybox "usr/bin/$applet"
    done
    mkdir -p proc sys dev run tmp root var/lib/bastionlab etc/bastionlab/keys usr/lib/bastionlab usr/lib/python3/dist-packages
    cp -r "$packages/." usr/lib/python3/dist-packages/
    install -m 755 "$here/start" "$here/dhcp" usr/lib/bastionlab/
    [ -z "$keys" ] || cp -r --no-preserve=all "$keys/." etc/bastionlab/keys/
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n' > etc/passwd
    printf 'root:x:0:\nnogroup:x:65534:\n' > etc/group
    echo bastionlab > etc/hostname
    echo '127.0.0.1 localhost bastionlab' > etc/hosts
    ln -sfn ../lib/bastionlab/start usr/sbin/init
)
mksquashfs "$root" "$out/root.img" -quiet -no-progress -reproducible -all-root -no-xattrs -comp zstd -Xcompression-level 3 -b 131072
offset=$(( ($(stat -c %s "$out/root.img") + 4095) / 4096 * 4096 ))
truncate -s "$offset" "$out/root.img"
root_hash=$(veritysetup format --hash=sha256 --data-block-size=4096 --hash-block-size=4096 --salt="$SALT" --uuid="$UUID" \
    --data-blocks=$((offset / 4096)) --hash-offset="$offset" "$out/root.img" "$out/root.img" | sed -n 's/^Root hash:[[:space:]]*//p')

# ---- kernel and initrd ----------------------------------------------------------------------------------------------------
say "kernel and initrd: Debian's $BOOT_PACKAGES"
debian "$BOOT_PACKAGES" "$work/boot"
version=$(cd "$work/boot/boot" && echo vmlinuz-* | sed 's/^vmlinuz-//')
case $version in *[[:space:]]*|'*') echo "build.sh: one kernel is wanted, found: $version" >&2; exit 1 ;; esac
cp "$work/boot/boot/vmlinuz-$version" "$out/vmlinuz"
[ -e "$work/boot/lib" ] || ln -s usr/lib "$work/boot/lib"
depmod -b "$work/boot" "$version"

initrd=$work/initrd
mkdir -p "$initrd"/{bin,dev,proc,sys,root,modules,lib64}
install -m 755 "$here/init" "$initrd/init"
install -m 755 "$work/boot/usr/bin/busybox" "$initrd/bin/busybox"
# veritysetup with the libraries that it names, and they name
libraries() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
queue=("$work/boot/usr/sbin/veritysetup")
install -m 755 "${queue[0]}" "$initrd/bin/veritysetup"
while [ ${#queue[@]} -gt 0 ]; do
    for library in $(libraries "${queue[0]}"); do
        [ ! -e "$initrd/lib64/$library" ] || continue
        found=$(find "$work/boot/usr/lib" "$work/boot/usr/lib64" -name "$library" | sort | head -n 1)
        install -m 755 "$(readlink -f "$found")" "$initrd/lib64/$library"
        queue+=("$initrd/lib64/$library")
    done
    queue=("${queue[@]:1}")
done
# modules in the order in which they are loaded
for module in $MODULES; do
    modprobe -d "$work/boot" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
done | awk '!seen[$0]++' | while read -r file; do
    name=$(basename "$file" | sed 's/\.ko.*$/.ko/')
    case $file in *.xz) xz -dc "$file" ;; *.zst) zstd -qdc "$file" ;; *) cat "$file" ;; esac > "$initrd/modules/$name"
    echo "$name" >> "$initrd/modules/order"
done
find "$initrd" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$initrd" && find . -print0 | sort -z | cpio --null --create --format=newc --reproducible --owner=0:0 --quiet) \
    | zstd -q -10 --single-thread > "$out/initrd"

# ---- what is measured with them -------------------------------------------------------------------------------------------
printf '%s bastion.root=%s bastion.tree=%s' "$CMDLINE" "$root_hash" "$offset" > "$out/cmdline"
{
    echo "commit $(git -C "$source_tree" rev-parse "$commit^{commit}")"
    echo "kernel $version"
    sort -u -k 2 "$work/packages"
    sed -n 's/^\([a-z0-9_.-]*\)==\([^ ]*\) --hash=sha256:\(.*\)/\3  \1==\2/p' "$here/requirements.lock"
} > "$out/manifest"
(cd "$out" && sha256sum vmlinuz initrd cmdline root.img manifest > SHA256SUMS)
{ mmdebstrap --version; mksquashfs -version 2>&1 | head -n 1; veritysetup --version; cpio --version | head -n 1; zstd --version; } > "$out/tools"
say "done: $out"
cat "$out/SHA256SUMS"
