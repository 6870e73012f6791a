# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is measured: each contender makes an image reachable as a file and takes
it away again. A contender that is not installed, or cannot be had here, says why.
"""

import os
import shutil
import subprocess
import time


class Unavailable(Exception):
    """Why a contender is not measured."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Unavailable(f"{program} is not installed")


def is_mounted(path):
    """A mount is on path itself, or on a folder on the way to it."""
    with open("/proc/mounts", encoding="utf-8") as f:
        points = {line.split()[1] for line in f}
    return path in points


class Contender:
    """One way to reach the image. `modes`: the cache modes it can offer."""

    name = ""
    modes = ("writeback", "none", "writethrough", "directsync", "unsafe")

    def __init__(self, image, folder, mode):
        self.image, self.folder, self.mode = image, folder, mode
        self.process = None
        self.target = None

    def start(self):
        """Sets self.target to the path that fio gets, and checks that it is mounted."""
        raise NotImplementedError

    def stop(self):
        pass

    def native_flags(self):
        """Of the mode, what the measuring program has to ask for by itself."""
        return set()

    def pid(self):
        return self.process.pid if self.process else None

    def wait_for_mount(self, point):
        for _ in range(200):
            if is_mounted(point):
                return
            if self.process.poll() is not None:
                raise Unavailable(f"{self.name} ended with {self.process.returncode}")
            time.sleep(0.05)
        raise Unavailable(f"{self.name} did not mount")

    def spawn(self, *argv):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def unmount(self, point):
        if is_mounted(point):
            subprocess.run(["umount", point], check=True)
        if self.process:
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.terminate()
                self.process.wait()


MODE_FLAGS = {
    "writeback": set(),
    "none": {"direct"},
    "writethrough": {"dsync"},
    "directsync": {"direct", "dsync"},
    "unsafe": set(),
}


class Native(Contender):
    name = "native"

    def start(self):
        self.target = self.image

    def native_flags(self):
        return MODE_FLAGS[self.mode]


class NativeAgain(Native):
    """Native against itself: the machine's noise."""

    name = "native-again"


class Cmfs(Contender):
    binary = None
    name = "cmfs"

    def start(self):
        point = os.path.join(self.folder, "mnt")
        os.mkdir(point)
        self.spawn(self.binary, "-f", "-o", f"cache={self.mode}", self.image, point)
        self.wait_for_mount(point)
        self.target = os.path.join(point, os.path.basename(self.image))

    def stop(self):
        self.unmount(os.path.join(self.folder, "mnt"))


class StorageDaemon(Contender):
    """qemu-storage-daemon's FUSE export, one per aio engine."""

    aio = "threads"
    modes = ("writeback", "none", "writethrough", "directsync")

    def start(self):
        need("qemu-storage-daemon")
        direct = "direct" in MODE_FLAGS[self.mode]
        if self.aio == "native" and not direct:
            raise Unavailable("aio=native needs a direct mode")
        point = os.path.join(self.folder, "export")
        with open(point, "wb"):
            pass
        writethrough = "on" if "dsync" in MODE_FLAGS[self.mode] else "off"
        self.spawn(
            "qemu-storage-daemon",
            "--blockdev",
            f"driver=file,node-name=f,filename={self.image},aio={self.aio},"
            f"cache.direct={'on' if direct else 'off'}",
            "--export",
            f"type=fuse,id=e,node-name=f,mountpoint={point},writable=on,"
            f"writethrough={writethrough}",
        )
        self.wait_for_mount(point)
        self.target = point

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


class StorageDaemonThreads(StorageDaemon):
    name, aio = "qsd-threads", "threads"


class StorageDaemonNative(StorageDaemon):
    name, aio = "qsd-native", "native"
    modes = ("none", "directsync")


class StorageDaemonUring(StorageDaemon):
    name, aio = "qsd-io_uring", "io_uring"


class Nbdfuse(Contender):
    """nbdkit's file plugin behind libnbd's nbdfuse: through the page cache only."""

    name = "nbdfuse"
    modes = ("writeback",)

    def start(self):
        need("nbdkit", "nbdfuse")
        point = os.path.join(self.folder, "mnt")
        os.mkdir(point)
        self.spawn(
            "nbdfuse", point, "--command", "nbdkit", "-s", "--exit-with-parent", "file", self.image
        )
        self.wait_for_mount(point)
        self.target = os.path.join(point, "nbd")

    def stop(self):
        self.unmount(os.path.join(self.folder, "mnt"))


class Bindfs(Contender):
    """Opens the host file as the application does, but for O_DIRECT, which it drops."""

    name = "bindfs"
    modes = ("writeback", "writethrough")

    def start(self):
        need("bindfs")
        point = os.path.join(self.folder, "mnt")
        os.mkdir(point)
        self.spawn("bindfs", "-f", os.path.dirname(self.image), point)
        self.wait_for_mount(point)
        self.target = os.path.join(point, os.path.basename(self.image))

    def native_flags(self):
        return MODE_FLAGS[self.mode]

    def stop(self):
        self.unmount(os.path.join(self.folder, "mnt"))


class Loop(Contender):
    """A loop device with direct I/O below: no FUSE, for comparison."""

    name = "loop-direct"
    modes = ("none",)

    def start(self):
        need("losetup")
        out = subprocess.run(
            ["losetup", "--show", "-f", "--direct-io=on", self.image],
            check=True, capture_output=True, text=True,
        )
        self.target = out.stdout.strip()

    def native_flags(self):
        return MODE_FLAGS[self.mode]

    def stop(self):
        if self.target:
            subprocess.run(["losetup", "-d", self.target], check=True)


OURS = (Cmfs,)
REFERENCES = (Native, NativeAgain, Loop)
PEERS = (StorageDaemonThreads, StorageDaemonNative, StorageDaemonUring, Nbdfuse, Bindfs)
