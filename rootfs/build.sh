#!/bin/sh
# Fills this folder with a static busybox and the empty directories that a
# container's root needs. The text files in etc are committed; all else is made
# here and can be removed and made again.
#
#   BUSYBOX=/path/to/busybox   use this one (it must be static)
#
# A container may have written to this folder before, as root: nothing found in
# it is run here, and no symbolic link in it is followed.
set -eu

# Modes below are meant for the container's users, whatever the caller's umask.
umask 022

die() {
    echo "build.sh: $*" >&2
    exit 1
}

# elf FILE OFFSET BYTES TYPE: one number of the ELF header.
elf() {
    od -An -v -t "$4" -j "$2" -N "$3" "$1" 2>/dev/null | tr -d ' \n'
}

# The root has no libraries, so a busybox that asks for a dynamic linker would
# not start in it. The program headers say so; readelf and ldd may be missing.
is_static() {
    [ -f "$1" ] && [ -r "$1" ] && [ -x "$1" ] || return 1
    case $(elf "$1" 0 5 x1) in
    7f454c4602) start=$(elf "$1" 32 8 u8) size=$(elf "$1" 54 2 u2) left=$(elf "$1" 56 2 u2) ;;
    7f454c4601) start=$(elf "$1" 28 4 u4) size=$(elf "$1" 42 2 u2) left=$(elf "$1" 44 2 u2) ;;
    *) return 1 ;;
    esac
    while [ "$left" -gt 0 ]; do
        left=$((left - 1))
        [ "$(elf "$1" $((start + left * size)) 4 u4)" != 3 ] || return 1 # PT_INTERP
    done
}

# find_in ROOT: sets busybox to a static one where distributions put it.
find_in() {
    for busybox in "$1"/bin/busybox "$1"/usr/bin/busybox "$1"/sbin/busybox \
        "$1"/usr/sbin/busybox "$1"/bin/busybox.static "$1"/usr/bin/busybox.static; do
        ! is_static "$busybox" || return 0
    done
    return 1
}

find_on_machine() {
    find_in "" && return
    busybox=$(command -v busybox) && is_static "$busybox"
}

# Fetches the distribution's package and unpacks it without installing it,
# which needs no root. Runs in $tmp/package.
download() {
    if command -v apt-get && command -v dpkg-deb; then
        # Root's download would otherwise go to a user who can't write here.
        set -- apt-get -q -o APT::Sandbox::User=root
        "$@" download busybox-static || {
            # A fresh image has no package lists, and old lists name packages that are gone.
            # One bad source fails the update; the package may come from a good one.
            [ "$(id -u)" = 0 ] && { apt-get -q update || :; } && "$@" download busybox-static
        } || return
        dpkg-deb -x ./*.deb .
    elif command -v apk; then
        apk fetch --no-cache busybox-static && tar -xzf ./*.apk
    elif command -v dnf; then
        dnf -q download busybox && rpm2cpio ./*.rpm >cpio && cpio -id <cpio
    else
        echo 'no apt-get, apk or dnf here'
        return 1
    fi
}

find_in_distribution() {
    mkdir "$tmp/package"
    (cd "$tmp/package" && download) >"$tmp/log" 2>&1 && find_in "$tmp/package"
}

# folder MODE PATH
folder() {
    [ ! -h "$2" ] || die "$root/$2 is a symbolic link and may lead out of the root; remove it and run build.sh again"
    { [ -d "$2" ] || mkdir "$2"; } 2>"$tmp/log" && chmod "$1" "$2" 2>"$tmp/log" ||
        die "cannot prepare $root/$2 ($(tail -n 1 "$tmp/log"))"
}

install_busybox() {
    # busybox goes by the name it is called with, and $BUSYBOX may have any.
    ln -s "$busybox" "$tmp/busybox"
    "$tmp/busybox" --list-full >"$tmp/applets" 2>/dev/null && grep -q '^\(bin/\)*sh$' "$tmp/applets" ||
        die "$busybox does not run here as a busybox with a shell"

    while read -r applet; do
        name=${applet##*/}
        case $applet in
        busybox | */busybox | linuxrc) continue ;;
        sbin/*) link=sbin/$name target=../bin/busybox ;;
        usr/bin/*) link=usr/bin/$name target=../../bin/busybox ;;
        usr/sbin/*) link=usr/sbin/$name target=../../bin/busybox ;;
        *) link=bin/$name target=busybox ;;
        esac
        # A program that someone put in an applet's place stays.
        if [ -h "$link" ] || [ ! -e "$link" ]; then
            ln -sfn "$target" "$link"
        fi
    done <"$tmp/applets"

    # Last, and by rename: where bin/busybox stands, all else is complete, and a
    # container that runs from the old one isn't disturbed.
    [ ! -h bin/busybox ] && cmp -s "$busybox" bin/busybox 2>/dev/null && chmod 755 bin/busybox && return
    rm -f bin/.busybox.new
    cp "$busybox" bin/.busybox.new 2>"$tmp/log" || {
        rm -f bin/.busybox.new
        die "cannot write $root/bin/busybox ($(tail -n 1 "$tmp/log"))"
    }
    chmod 755 bin/.busybox.new
    if [ -h bin/busybox ] || [ -d bin/busybox ]; then
        rm -rf bin/busybox # mv would move into it
    fi
    mv -f bin/.busybox.new bin/busybox
}

case ${BUSYBOX:=} in
'' | /*) ;;
*) BUSYBOX=$PWD/$BUSYBOX ;;
esac
root=$(dirname "$(readlink -f "$0")")
cd "$root"
[ -w . ] || die "cannot write to $root; it is read-only or belongs to someone else"

tmp=
trap 'rm -rf "$tmp"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
tmp=$(mktemp -d)

# Two builds at once, as by parallel tests, take turns.
if command -v flock >/dev/null; then
    exec 9<.
    flock 9
fi

# After a checkout under umask 077 only root could enter / or read etc/passwd.
chmod a+rx .
for dir in bin sbin usr usr/bin usr/sbin etc proc sys dev run var var/log home home/user mnt; do
    folder 755 $dir
done
folder 1777 tmp
folder 1777 var/tmp
folder 700 root
for file in group hosts nsswitch.conf os-release passwd profile resolv.conf shells; do
    [ -h etc/$file ] || [ ! -f etc/$file ] || chmod a+r etc/$file
done
# The uid of `user` in etc/passwd; an ordinary user can't give files away.
chown 1000:1000 home/user 2>/dev/null || :

if [ -n "$BUSYBOX" ]; then
    is_static "$BUSYBOX" || die "BUSYBOX=$BUSYBOX is not a static executable"
    busybox=$BUSYBOX
    install_busybox
elif find_on_machine; then
    install_busybox
elif [ ! -h bin/busybox ] && is_static bin/busybox; then
    : # From an earlier download, and complete; see the end of install_busybox.
elif find_in_distribution; then
    install_busybox
else
    die "no static busybox found and none could be downloaded ($(tail -n 1 "$tmp/log")); install the package busybox-static (Fedora and Arch: busybox) or set BUSYBOX=/path/to/busybox"
fi

echo "built $root with busybox; next: minirun run $root /bin/sh"
