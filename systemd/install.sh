#!/bin/bash
# Installs hiod into an environment of its own, with all that systemd and the shell need to find it,
# and takes exactly that away again. Called by make install and make uninstall.
#
#     systemd/install.sh install | uninstall
#
# DESTDIR   where the tree is put, for packagers; nothing outside is touched then (default: none)
# PREFIX    /usr/local; /usr for packages
# PYTHON    the Python the environment is made with; its path stays in it, and the service must be
#           able to reach it: not below a home directory (default: /usr/bin/python3)
# PIP       what installs into it (default: PYTHON -m pip)
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
source=$(dirname "$here")
DESTDIR=${DESTDIR:-}
PREFIX=${PREFIX:-/usr/local}
PYTHON=${PYTHON:-/usr/bin/python3}
PIP=${PIP:-$PYTHON -m pip}
home=$PREFIX/lib/hiod
directories=$home/directories # that were made, by this or an earlier installation, longest first
new_directories=()
catalog=$PREFIX/lib/systemd/catalog/hiod.catalog

put() { # MODE SOURCE TARGET: a text file, its paths set for PREFIX
	make_way "$3"
	install -D -m "$1" /dev/null "$DESTDIR$3"
	sed "s#/usr/lib/hiod/#$home/#g" "$2" >"$DESTDIR$3"
}

make_way() { # TARGET: note which directories are made for it
	local folder
	folder=$(dirname "$1")
	until [ "$folder" = / ] || [ -e "$DESTDIR$folder" ]; do
		new_directories+=("$folder")
		folder=$(dirname "$folder")
	done
	mkdir -p "$DESTDIR$(dirname "$1")"
}

files() { # all that is installed besides the environment: MODE SOURCE TARGET
	cat <<-LIST
		644 systemd/hiod.service $PREFIX/lib/systemd/system/hiod.service
		644 systemd/hiod.socket $PREFIX/lib/systemd/system/hiod.socket
		644 systemd/hiod-watch.service $PREFIX/lib/systemd/system/hiod-watch.service
		644 systemd/hiod-user.service $PREFIX/lib/systemd/user/hiod.service
		644 systemd/hiod-user.socket $PREFIX/lib/systemd/user/hiod.socket
		644 systemd/hiod-user-watch.service $PREFIX/lib/systemd/user/hiod-watch.service
		644 systemd/sysusers.conf $PREFIX/lib/sysusers.d/hiod.conf
		644 systemd/tmpfiles.conf $PREFIX/lib/tmpfiles.d/hiod.conf
		644 systemd/hiod-no-network.conf $PREFIX/share/hiod/hiod-no-network.conf
		644 etc/completion/hiodctl.bash $PREFIX/share/bash-completion/completions/hiodctl
		644 etc/completion/_hiodctl $PREFIX/share/zsh/site-functions/_hiodctl
	LIST
	(
		cd "$source"
		find etc -type f ! -path 'etc/demo/*' ! -path 'etc/completion/*' | sort |
			sed "s#.*#644 & $PREFIX/share/hiod/&#"
		for page in docs/man/*.[1-8]; do
			echo "644 $page $PREFIX/share/man/man${page##*.}/${page##*/}"
		done
	)
}

install_all() {
	"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
		{ echo "$PYTHON is older than Python 3.11; name another: make install PYTHON=…" >&2; exit 1; }
	case $("$PYTHON" -c 'import sys; print(sys.base_prefix)') in
	/home/* | /root/*)
		echo "$PYTHON lives below a home directory, which the service cannot reach; name another: make install PYTHON=/usr/bin/python3" >&2
		exit 1
		;;
	esac
	[ ! -e "$DESTDIR$directories" ] || mapfile -t new_directories <"$DESTDIR$directories"
	make_way "$home"
	rm -rf "$DESTDIR$home"
	"$PYTHON" -m venv --without-pip "$DESTDIR$home"
	rm -f "$DESTDIR$home"/bin/[Aa]ctivate*
	local site
	site=$(echo "$DESTDIR$home"/lib/python3.*/site-packages)
	$PIP install -q --no-compile --no-warn-script-location --root-user-action=ignore \
		--target "$site" "$source"
	rm -rf "$site/bin"
	# Byte code that names the paths of the installed system; nobody may write it there later.
	"$PYTHON" -m compileall -q -j0 ${DESTDIR:+-s "$DESTDIR" -p /} "$site"
	[ -z "$DESTDIR" ] || sed -i "s#$DESTDIR##g" "$DESTDIR$home/pyvenv.cfg"
	put 755 "$here/after-stop" "$home/after-stop"
	local name module
	while read -r name module; do
		printf '#!%s/bin/python3 -P\nimport sys\nfrom %s import main\nsys.exit(main())\n' \
			"$home" "$module" | install -D -m 755 /dev/stdin "$DESTDIR$home/bin/$name"
		make_way "$PREFIX/bin/$name"
		ln -sf "$home/bin/$name" "$DESTDIR$PREFIX/bin/$name"
	done <<-SCRIPTS
		hiod hiod.boss.main
		hiodctl hiod.ctl.main
	SCRIPTS
	while read -r mode from to; do put "$mode" "$source/$from" "$to"; done < <(files)
	make_way "$catalog"
	install -D -m 644 /dev/null "$DESTDIR$catalog"
	PYTHONPATH=$site "$PYTHON" -B "$here/make_catalog.py" >"$DESTDIR$catalog"
	printf '%s\n' "${new_directories[@]}" | sort -ru >"$DESTDIR$directories"
	[ -n "$DESTDIR" ] || acquaint
}

acquaint() { # let a running system know
	if [ ! -d /run/systemd/system ]; then
		echo "installed; no systemd runs here, so nothing was told to it"
		return
	fi
	systemd-sysusers
	systemd-tmpfiles --create hiod.conf
	journalctl --update-catalog
	systemctl daemon-reload
	echo "installed; next: write /etc/hiod/crew.d/NAME.toml, then systemctl enable --now hiod.socket hiod"
}

uninstall_all() {
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
		systemctl disable --now hiod.service hiod.socket 2>/dev/null || true
	fi
	files | while read -r _ _ to; do rm -f "$DESTDIR$to"; done
	rm -f "$DESTDIR$catalog" "$DESTDIR$PREFIX/bin/hiod" "$DESTDIR$PREFIX/bin/hiodctl"
	[ ! -e "$DESTDIR$directories" ] || mapfile -t new_directories <"$DESTDIR$directories"
	rm -rf "$DESTDIR$home"
	local folder
	for folder in "${new_directories[@]}"; do
		[ -z "$folder" ] || rmdir --ignore-fail-on-non-empty "$DESTDIR$folder" 2>/dev/null || true
	done
	if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then
		journalctl --update-catalog
		systemctl daemon-reload
		echo "removed; kept: /etc/hiod, /var/lib/hiod and user hiod"
	fi
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
esac
