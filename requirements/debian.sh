#!/usr/bin/env bash
# Install the Debian packages named as arguments, those that are missing, and start none of their daemons.
#
# Usage: requirements/debian.sh PACKAGE...
# Works as root, and as a user with sudo. A machine that has them all is left alone, without asking the network.
# Exit: 0 all there, 69 apt-get could not install, 77 no right to install.
set -euo pipefail

missing=()
if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian or Ubuntu: going on with what is here. Needed are the equivalents of: $*" >&2
    exit 0
fi
for package in "$@"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "Debian packages to install, with sudo: ${missing[*]}"
    command -v sudo >/dev/null || { echo "There is no sudo. As root, run: apt-get install ${missing[*]}" >&2; exit 77; }
    exec sudo -- "$BASH" "$0" "${missing[@]}"
fi

# A package may start its daemon (mosquitto, sshd) and have it started at each boot. Nobody asked for a listening
# daemon here: the first is refused while we install, the second is switched off for what we brought in ourselves.
guard=/usr/sbin/policy-rc.d
placed=no
lift() { [ "$placed" = no ] || rm -f "$guard"; }
trap lift EXIT
trap 'exit 130' INT TERM
if [ ! -e "$guard" ]; then
    placed=yes
    printf '#!/bin/sh\nexit 101\n' >"$guard"
    chmod 755 "$guard"
fi

echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
options=(-q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
log=$(mktemp)
if ! { apt-get "${options[@]}" update && apt-get "${options[@]}" install -y --no-install-recommends "${missing[@]}"; } \
    </dev/null >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "apt-get could not install ${missing[*]}: see the lines above, then run this again." >&2
    exit 69
fi
rm -f "$log"
for package in "${missing[@]}"; do
    case $package in
    mosquitto) unit=mosquitto ;;
    nats-server) unit=nats-server ;;
    openssh-server) unit=ssh ;;
    postgresql) unit=postgresql ;;
    rabbitmq-server) unit=rabbitmq-server ;;
    *) continue ;;
    esac
    update-rc.d "$unit" disable >/dev/null 2>&1 || true
    if command -v systemctl >/dev/null; then
        systemctl --quiet disable "$unit.service" "$unit.socket" >/dev/null 2>&1 || true
    fi
    echo "$package is installed; its daemon is neither started now nor at boot (to use it: systemctl enable --now $unit)."
done
