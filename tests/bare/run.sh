#!/usr/bin/env bash
# Prove the README's commands where nothing is installed: in a bare Debian tree, made anew, from a clean clone.
#
# Usage, as root: tests/bare/run.sh [--person] TARGET...     for example: tests/bare/run.sh demo test
#   --person   run make as an ordinary user with sudo, not as root
# Each target runs twice. The second time may install nothing, and neither time may leave a process behind or, once
# all is installed, change a file outside the checkout (the device tier's Debian tree in root's cache aside). Ends with a table of seconds and a line that counts.
#
# The tree is built with this machine's own package sources and reached with its own settings for apt and pip, read
# when this runs and thrown away with the tree. Packages: git mmdebstrap util-linux. Needs 2 GB under TMPDIR (/var/tmp).
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
person=root
home=/root
if [ "${1:-}" = --person ]; then person=person home=/home/person; shift; fi
[ $# -gt 0 ] || { echo "usage: tests/bare/run.sh [--person] TARGET..." >&2; exit 64; }
[ "$(id -u)" -eq 0 ] || { echo "A tree of root's files is made: run this as root." >&2; exit 77; }
marks=("$@")
[ "$person" = root ] || marks=(--person "$@")
if [ -z "${PRIVET_BARE:-}" ]; then
    # Mounts and processes end with this command, however it ends; the folder goes when they are gone.
    tree=$(mktemp -d "${TMPDIR:-/var/tmp}/privet-bare.XXXXXX")
    trap 'rm -rf --one-file-system "$tree"' EXIT
    PRIVET_BARE=$tree unshare --mount --pid --fork --kill-child --mount-proc --propagation private -- \
        "$BASH" "$0" "${marks[@]}"
    exit
fi
tree=$PRIVET_BARE
umask 022
chmod 755 "$tree"
mount --bind "$tree" "$tree" # a mount of its own, as / is on a machine

# The distribution's own entries of this machine's package sources; a third party's would need its own key.
sources() {
    local suite=$1 file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] && sed '/^#/d' "$file" | awk -v suite="$suite" 'BEGIN { RS = ""; ORS = "\n\n" }
            $0 ~ "Suites:[^\n]*" suite && (!/Signed-By/ || /(debian|ubuntu)-archive-keyring/)'
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] && grep -E "^deb (\[[^]]*(debian|ubuntu)-archive-keyring[^]]*\] )?[a-z][^ ]* $suite" "$file" || true
    done
}

# What the package clients here are told, as variables: for pip, and for whoever checks a certificate or asks a proxy.
settings=()
while IFS= read -r -d '' line; do
    case ${line%%=*} in
    PIP_CACHE_DIR) ;;
    PIP_* | *_proxy | *_PROXY | SSL_CERT_FILE | SSL_CERT_DIR | REQUESTS_CA_BUNDLE) settings+=("$line") ;;
    esac
done < <(env -0)

suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
asked=$tree.apt.conf
apt-config dump | grep '^Acquire::' >"$asked"
echo "== a bare $suite"
started=$SECONDS
sources "$suite" | mmdebstrap --quiet --variant=minbase --mode=root --aptopt="$asked" "$suite" "$tree" -
rm -f "$asked"
echo "== made in $((SECONDS - started)) s, $(chroot "$tree" dpkg-query -f '.\n' -W | wc -l) packages"

enter() { chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TERM=dumb "${settings[@]}" "$@"; }

mount -t proc proc "$tree/proc"
mount -t sysfs -o ro sysfs "$tree/sys"
mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
mkdir "$tree/dev/pts" "$tree/dev/shm"
for device in null zero full random urandom tty; do
    touch "$tree/dev/$device"
    mount --bind "/dev/$device" "$tree/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$tree/dev/pts"
ln -s pts/ptmx "$tree/dev/ptmx"
ln -s /proc/self/fd "$tree/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$tree/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"

# Names, certificates and pip's settings, as this machine has them.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -e "$file" ] || install -D -m 644 "$file" "$tree$file"
done
# A package that comes with the tests writes the bundle of certificates anew: from these files too.
mkdir -p "$tree/usr/local/share/ca-certificates"
awk -v folder="$tree/usr/local/share/ca-certificates" '/BEGIN CERTIFICATE/ { n++; inside = 1 }
    inside { print > (folder "/machine-" n ".crt") } /END CERTIFICATE/ { inside = 0; close(folder "/machine-" n ".crt") }' \
    /etc/ssl/certs/ca-certificates.crt
[ "$person" = root ] || { enter useradd --create-home person; }
for file in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
    [ ! -e "$file" ] || install -D -m 644 "$file" "$tree$home/.config/pip/pip.conf"
done
# Folders of packages that those settings name; an index keeps its files beside itself, so its parent comes along.
for word in $({ python3 -m pip config list; printf '%s\n' "${settings[@]}"; } | tr "=' " '\n\n\n' | sed 's,^file://,,'); do
    case $word in /etc/* | [!/]*) continue ;; /*/*/*) word=${word%/*} ;; esac
    if [ -d "$word" ] && ! mountpoint -q "$tree$word"; then
        mkdir -p "$tree$word"
        mount --bind "$word" "$tree$word"
        mount -o remount,bind,ro "$tree$word"
    fi
done

checkout=$home/privet
git -c safe.directory='*' clone --quiet --no-hardlinks "$root" "$tree$checkout"
enter sh -c 'apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends '"make$(
    [ "$person" = root ] || echo ' sudo')"' >/dev/null 2>&1'
make=(env -C "$checkout" "HOME=$home" make)
if [ "$person" != root ]; then
    echo 'person ALL=(ALL) NOPASSWD: ALL' >"$tree/etc/sudoers.d/person"
    chown -R --reference="$tree$home" "$tree$home"
    # The path of an ordinary user on Debian has no sbin.
    make=(setpriv --reuid=person --regid=person --init-groups env PATH=/usr/local/bin:/usr/bin:/bin "${make[@]}")
fi

passed=0 failed=0 report=""
# Run one target once; complain about what it leaves running, and, when asked, about what it changes elsewhere.
try() {
    local target=$1 again=$2 started=$SECONDS verdict=passed left
    touch "$tree/stamp"
    sleep 0.1
    echo "== make $target ($again time)"
    enter "${make[@]}" "$target" </dev/null || verdict="FAILED with exit code $?"
    left=$(ps -e -o pid= -o args= | grep -Ev "^ *[0-9]+ (.*run\.sh|ps -e|grep -Ev|unshare)" || true)
    if [ -n "$left" ]; then
        verdict="FAILED: left running: $left"
        kill -KILL $(awk '{ print $1 }' <<<"$left")
    fi
    if [ "$again" = second ]; then
        left=$(find "$tree" -xdev -newer "$tree/stamp" -type f -not -path "$tree$checkout/*" \
            -not -path "$tree/tmp/*" -not -path "*/.cache/privet/*" -printf '/%P\n')
        [ -z "$left" ] || verdict="FAILED: changed outside the checkout: $left"
    fi
    if [ "$verdict" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    report+=$(printf '%-12s %-6s %4d s  %s' "$target" "$again" $((SECONDS - started)) "$verdict")$'\n'
}
for target in "$@"; do
    try "$target" first
    try "$target" second
done
printf '%s' "$report"
echo "bare: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
