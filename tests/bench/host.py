# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine below: mounts, loop devices, processes, its description."""

import contextlib
import os
import platform
import signal
import subprocess
import time


def raise_on_signals():
    """Have SIGINT, SIGTERM and SIGHUP unwind the stack once, so that all is undone."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def leave(number, _frame):
        for s in signals:
            signal.signal(s, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for s in signals:
        signal.signal(s, leave)


def output_of(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def mount_type(point):
    """Type of the file system mounted on point, or None."""
    found = None
    with open("/proc/mounts", "rb") as f:
        for line in f:
            words = line.split()
            if words[1].decode("unicode_escape") == point:
                found = words[2].decode()
    return found


def unmount(point):
    """Unmount, lazily if somebody stays on it; nothing if it is not mounted."""
    for _ in range(50):
        if mount_type(point) is None:
            return
        if subprocess.run(["umount", point], capture_output=True, check=False).returncode:
            time.sleep(0.1)
    subprocess.run(["umount", "-l", point], check=False)


def end(process, ask=False):
    """Wait for a daemon's end, or ask for it; be firm with one that does not go."""
    if process is None:
        return
    steps = [process.terminate, process.kill]
    if ask:
        steps.pop(0)()
    for step in steps:
        try:
            process.wait(timeout=20)
            return
        except subprocess.TimeoutExpired:
            step()
    process.wait()


def attach_loop(file):
    return output_of("losetup", "--show", "-f", "--direct-io=on", file)


def detach_loop(device):
    subprocess.run(["losetup", "-d", device], check=False)


def loop_file(device):
    path = f"/sys/block/{os.path.basename(device)}/loop/backing_file"
    with open(path, encoding="utf-8") as f:
        return f.read().rstrip("\n")


def xfs_in_loop(stack, folder, mib):
    """A new XFS in a loop device, gone when the stack unwinds. Its mountpoint."""
    file, point = os.path.join(folder, "xfs.img"), os.path.join(folder, "xfs")
    with open(file, "wb") as f:
        f.truncate(mib << 20)
    device = attach_loop(file)
    stack.callback(detach_loop, device)
    output_of("mkfs.xfs", "-q", device)
    os.mkdir(point)
    stack.callback(unmount, point)
    output_of("mount", device, point)
    return point


def process_tree(pid):
    """A process and all below it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children", encoding="ascii") as f:
                    found += [int(child) for child in f.read().split()]
    return found


def status_kib(pids, field):
    """Sum of a field of /proc/PID/status, in KiB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith(field + ":"))
    return total


def forget_peak(pids):
    """Have VmHWM begin anew from what is resident now."""
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/clear_refs", "w",
                                                encoding="ascii") as f:
            f.write("5")


def bytes_moved(pids):
    """What processes have read and written by system calls so far."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/io", encoding="ascii") as f:
            total += sum(int(line.split()[1]) for line in f if line[:5] in ("rchar", "wchar"))
    return total


def version_of(*argv):
    try:
        lines = output_of(*argv).splitlines()
    except (OSError, subprocess.CalledProcessError):
        return None
    return lines[0] if lines else None


def describe(folder):
    """What a reader has to know of the machine to judge the numbers."""
    def first(path, key):
        with open(path, encoding="utf-8") as f:
            return next((l.split(":", 1)[1].strip() for l in f if l.startswith(key)), "unknown")

    device = output_of("df", "--output=source", folder).splitlines()[-1]
    tools = [version_of("fio", "--version"), version_of("qemu-storage-daemon", "--version"),
             version_of("nbdkit", "--version"), version_of("nbdfuse", "--version"),
             version_of("bindfs", "--version")]
    system = "unknown"
    with contextlib.suppress(OSError):
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return {
        "cpu": first("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(),
        "memory_mib": int(first("/proc/meminfo", "MemTotal").split()[0]) >> 10,
        "kernel": platform.release(), "system": system,
        "virtual": version_of("systemd-detect-virt") or "unknown",
        "device": device, "filesystem": filesystem_of(folder),
        "tools": [t for t in tools if t], "date": time.strftime("%Y-%m-%d"),
    }


def filesystem_of(path):
    return output_of("findmnt", "-n", "-o", "FSTYPE", "-T", path)
