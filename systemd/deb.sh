#!/bin/bash
# Builds a Debian package of what install.sh installs. Called by make deb.
#
# OUT       where it is put (default: dist)
# TREE      a tree made by install.sh with PREFIX=/usr, to save making one
# VERSION   (default: hiod's own)
# PYTHON    the Python it is for (default: /usr/bin/python3); the package depends on its version
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
OUT=${OUT:-dist}
PYTHON=${PYTHON:-/usr/bin/python3}
VERSION=${VERSION:-$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$(dirname "$here")/hiod/__init__.py")}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree

if [ -n "${TREE:-}" ]; then
	cp -a "$TREE" "$tree"
else
	DESTDIR=$tree PREFIX=/usr PYTHON=$PYTHON "$here/install.sh" install
fi
rm -f "$tree/usr/lib/hiod/directories" # dpkg knows by itself
chmod 755 "$tree"
mkdir "$tree/DEBIAN"
read -r minor next <<<"$("$PYTHON" -c 'import sys; v = sys.version_info; print(f"{v[0]}.{v[1]} {v[0]}.{v[1] + 1}")')"

cat >"$tree/DEBIAN/control" <<CONTROL
Package: hiod
Version: $VERSION
Architecture: $(dpkg --print-architecture)
Maintainer: hiod maintainers <hiod@localhost>
Depends: python3 (>= $minor), python3 (<< $next), systemd (>= 252)
Section: admin
Priority: optional
Installed-Size: $(du -sk "$tree" | cut -f1)
Description: daemon that keeps a crew of cooperating Python processes running
 A boss keeps hands running for months. They talk to it and to each other by
 memos, and live on when it is restarted or upgraded.
CONTROL

cat >"$tree/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
systemd-sysusers hiod.conf
systemd-tmpfiles --create hiod.conf
journalctl --update-catalog
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload
if [ -z "$2" ]; then
	systemctl enable --now hiod.socket hiod.service
else
	# The next boss goes on with the same hands; who stopped hiod finds it stopped.
	systemctl try-restart hiod.service
fi
SCRIPT

cat >"$tree/DEBIAN/prerm" <<'SCRIPT'
#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
[ ! -d /run/systemd/system ] || systemctl disable --now hiod.service hiod.socket
SCRIPT

cat >"$tree/DEBIAN/postrm" <<'SCRIPT'
#!/bin/sh
set -e
case $1 in
remove)
	# What was compiled since lies beside what dpkg knows.
	rm -rf /usr/lib/hiod
	;;
purge)
	rm -rf /etc/hiod /var/lib/hiod /run/hiod
	userdel hiod 2>/dev/null || true
	groupdel hiod 2>/dev/null || true # it stays behind when it has members
	;;
*) exit 0 ;;
esac
journalctl --update-catalog
[ ! -d /run/systemd/system ] || systemctl daemon-reload
SCRIPT

chmod 755 "$tree"/DEBIAN/p*
mkdir -p "$OUT"
dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$OUT" >/dev/null
echo "$OUT/hiod_${VERSION}_$(dpkg --print-architecture).deb"
