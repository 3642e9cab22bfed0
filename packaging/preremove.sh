#!/bin/sh
# Before the files of edge-gateway go: deb says "remove", rpm 0. At an upgrade the
# service goes on until the new files are in place.
set -e
case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
command -v systemctl >/dev/null || exit 0
systemctl disable edge-gw >/dev/null 2>&1 || true
[ -d /run/systemd/system ] || exit 0
systemctl stop edge-gw
