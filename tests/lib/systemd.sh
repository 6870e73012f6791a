# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A systemd of the test's own, in namespaces of its own: it starts what $T/units and
# /etc/fstab say, and nothing of the machine's. Needs root. Sourced after mount.sh.
#
#   systemd_boot         start it and wait until it is up
#   inside COMMAND...    run it where its processes live
#   control ARG...       systemctl, there
#   systemd_down         end everything as for a poweroff, but the machine

SYSTEMD=/lib/systemd/systemd
systemd_pid="" # of the process that has it as its child

# What it starts with besides the test's own.
systemd_units() {
	local unit
	for unit in {basic,sysinit,shutdown,umount,{local,remote}-fs{,-pre},network,network-online}.target \
		{multi-user,paths,slices,sockets,timers}.target; do
		cp "/lib/systemd/system/$unit" "$T/units"
	done
	mkdir -p "$T/units/multi-user.target.wants"
	ln -sf ../remote-fs.target "$T/units/multi-user.target.wants" # as a preset has it
	printf '[Unit]\n%s\n' DefaultDependencies=no "Requires=shutdown.target umount.target" \
		"After=shutdown.target umount.target" >"$T/units/down.target"
	ln -sf /lib/systemd/system-generators/systemd-fstab-generator "$T/generators"
}

systemd_boot() {
	local i
	[ -x $SYSTEMD ] || skip "there is no systemd"
	mkdir -p "$T/units" "$T/generators" "$T/cgroup"
	systemd_units
	mount -t cgroup2 none "$T/cgroup" || skip "there is no cgroup2"
	track_mount "$T/cgroup"
	mkdir "$T/cgroup/${T##*/}"
	cat >"$T/boot" <<-END
		set -e
		echo \$\$ >"$T/cgroup/${T##*/}/cgroup.procs"
		exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc \\
			--cgroup --uts --ipc sh "$T/init"
	END
	# Mounts of others must not live longer for it. The container= keeps it off hardware.
	cat >"$T/init" <<-END
		set -e
		awk '\$3 ~ /^fuse/ { print \$2 }' /proc/mounts | while read -r m; do umount -l "\$m"; done
		mount -t tmpfs none /run
		umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup || mkdir -p /sys/fs/cgroup
		mount -t cgroup2 none /sys/fs/cgroup
		mountpoint -q /sys/fs/fuse/connections || mount -t fusectl none /sys/fs/fuse/connections
		export container=test SYSTEMD_GENERATOR_PATH="$T/generators"
		export SYSTEMD_UNIT_PATH="$T/units:/usr/local/lib/systemd/system:/run/systemd/generator"
		exec $SYSTEMD --system --unit=multi-user.target --log-level=info --log-target=console
	END
	sh "$T/boot" >"$T/systemd.log" 2>&1 </dev/null &
	systemd_pid=$!
	trap systemd_cleanup EXIT
	for ((i = 0; i < 600; i++)); do
		case $(control is-system-running 2>/dev/null) in
		running | degraded) return 0 ;;
		esac
		kill -0 $systemd_pid 2>/dev/null || break
		sleep 0.05
	done
	fail "systemd does not come up"
}

inside() {
	nsenter -t "$(pgrep -P $systemd_pid)" -m -p -C -u -i "$@"
}

control() {
	inside systemctl --no-pager "$@"
}

systemd_down() {
	control start --job-mode=replace-irreversibly down.target
}

# Before mount.sh's: whatever has happened, nothing may live on.
systemd_cleanup() {
	local status=$? folder
	set +e
	kill -KILL "$systemd_pid"
	wait "$systemd_pid" 2>/dev/null
	[ $status = 0 ] || sed 's/^/systemd: /' "$T/systemd.log" >&2
	find "$T/cgroup/${T##*/}" -depth -type d | while read -r folder; do
		rmdir "$folder" 2>/dev/null || { sleep 0.2 && rmdir "$folder"; }
	done
	(exit $status)
	cleanup
}
