#!/bin/sh
# collect.sh BINARY OUT BASE: puts into the folder OUT what an image needs besides Debian's base packages, which the file
# BASE lists: the stripped binary, the shared libraries of packages that are not in the base, the certificates that
# browsers trust, and for each package its copyright and its dpkg status (in status.d, where scanners look for it).
set -eu
binary=$1 out=$2 base=$3

mkdir -p "$out/usr/bin" "$out/etc/ssl" "$out/usr/share/ca-certificates" "$out/var/lib/dpkg/status.d"
cp "$binary" "$out/usr/bin/sluice"
strip "$out/usr/bin/sluice"
cp -a /etc/ssl/certs "$out/etc/ssl/"
cp -a /usr/share/ca-certificates/mozilla "$out/usr/share/ca-certificates/"

keep_package() {
    [ -e "$out/var/lib/dpkg/status.d/$1" ] && return
    dpkg-query -s "$1" >"$out/var/lib/dpkg/status.d/$1"
    mkdir -p "$out/usr/share/doc/$1"
    cp -L "/usr/share/doc/$1/copyright" "$out/usr/share/doc/$1/"
}
keep_package ca-certificates

libraries=$(ldd "$binary")
case $libraries in *"not found"*) echo "$libraries" >&2; exit 1 ;; esac
files=$(echo "$libraries" | awk '$2 == "=>" { print $3 }')
# One question for all of them. A package's list may say /lib for what is in /usr/lib: the names that are not there are errors.
names=$(for library in $files; do realpath "$library"; realpath "$library" | sed 's,^/usr,,'; done)
# shellcheck disable=SC2086 # one argument for each
owners=$(dpkg-query -S $names 2>/dev/null || true)
for library in $files; do
    file=$(realpath "$library")
    package=$(echo "$owners" | grep -F "/$(basename "$file")" | head -1 | cut -d: -f1)
    [ -n "$package" ] || { echo "collect.sh: no package has $file" >&2; exit 1; }
    if grep -qx "$package" "$base"; then
        continue
    fi
    to=$out/usr/lib/$(basename "$(dirname "$file")")
    mkdir -p "$to"
    cp "$file" "$to/"
    [ -e "$to/$(basename "$library")" ] || ln -s "$(basename "$file")" "$to/$(basename "$library")"
    keep_package "$package"
    echo "collected $(basename "$file") of $package"
done
