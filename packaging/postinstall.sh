#!/bin/sh
# After the files of edge-gateway are in place: deb says "configure OLD-VERSION", rpm 1
# at the installation and 2 at an upgrade.
set -e

user=edge-gw
etc=/etc/edge-gw
lib=/var/lib/edge-gw

getent group $user >/dev/null || groupadd --system $user
getent passwd $user >/dev/null ||
	useradd --system --gid $user --home-dir $lib --no-create-home --shell /usr/sbin/nologin $user

# Never touched again: it is the operator's from here on.
if [ ! -e $etc/gateway.yml ]; then
	id=$(uname -n | cut -d. -f1 | tr -c 'A-Za-z0-9_\n-' '-')
	umask 027
	if edge-gw init $etc --gateway-id "${id:-gw-001}" --data-dir $lib 2>/dev/null; then
		chown -R root:$user $etc
		chmod -R u=rwX,g=rX,o= $etc
	else
		echo "edge-gateway: $etc/gateway.yml was not written, because its tables are there; write it, or move them away and run edge-gw init $etc" >&2
	fi
fi

command -v systemctl >/dev/null || exit 0
first=yes
case "$1" in
configure) [ -z "$2" ] || first=no ;;
2) first=no ;;
esac
if [ $first = yes ]; then
	systemctl enable edge-gw >/dev/null 2>&1 || true
fi
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ $first = yes ]; then
	systemctl start edge-gw || true # what is wrong stands in its log
	echo "edge-gateway runs. Its broker and name: $etc/gateway.yml; how it is: sudo edge-ctl status"
else
	systemctl try-restart edge-gw || true
fi
