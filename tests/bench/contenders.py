# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is measured: each contender makes an image reachable as a file and takes
it away again. A contender that is not installed, or cannot be had here, says why.

Kinds: "reference" (no FUSE), "ours", "peer" (a FUSE daemon that moves the data
itself) and "passthrough peer" (one that hands the file over to the kernel).
"""

import os
import shutil
import stat
import subprocess
import time

import cells
import host


class Unavailable(Exception):
    """Why a contender is not measured."""


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Unavailable(f"{program} is not installed")


class Contender:
    """One way to reach the image. Stopping is allowed at any time, also twice.

    `modes` are the cache modes it can offer. `asks_itself`: nothing below sets the
    mode's flags, so that the measuring program has to open with them. `variants`:
    settings of which each cell takes the best.
    """

    name = ""
    kind = "peer"
    modes = tuple(cells.MODE_FLAGS)
    asks_itself = False
    variants = ("",)

    def __init__(self, image, folder, mode, variant=""):
        self.image, self.folder, self.mode, self.variant = image, folder, mode, variant
        self.process = None
        self.point = None
        self.target = None

    def start(self):
        """Set self.target to the path that is measured, and return once it is there."""
        raise NotImplementedError

    def stop(self):
        if self.point:
            host.unmount(self.point)
        host.end(self.process)

    def in_cell(self, cell):
        """Whether this contender can do in this cell what the mode stands for."""
        return cell.application <= cells.MODE_FLAGS[cell.mode]

    def flags(self, cell):
        """What the measuring program opens the target with."""
        return cell.application | (cells.MODE_FLAGS[self.mode] if self.asks_itself else set())

    def check(self):
        """Raise unless the target is the image behind a FUSE mount of its own."""
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.log()}")
        kind = host.mount_type(self.point)
        if not (kind or "").startswith("fuse"):
            raise RuntimeError(f"{self.name}: {self.point} is not a FUSE mount but {kind}")
        there, image = os.stat(self.target), os.stat(self.image)
        if there.st_dev == image.st_dev or there.st_size != image.st_size:
            raise RuntimeError(f"{self.name}: {self.target} is not the image behind a mount")

    def pids(self):
        return host.process_tree(self.process.pid) if self.process else []

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as f:
            return " ".join(f.read().split())[-300:]

    def spawn(self, *argv, point, target):
        """Start a daemon and wait until it has mounted point."""
        self.point = point
        with open(os.path.join(self.folder, "log"), "wb") as log:
            # A session of its own: Ctrl-C is ours, we end it in order.
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        for _ in range(2000):
            if host.mount_type(point) is not None:
                break
            if self.process.poll() is not None:
                raise Unavailable(f"it ended with {self.process.returncode}: {self.log()}")
            time.sleep(0.005)
        else:
            raise Unavailable("it did not mount in time")
        self.target = target

    def make_point(self):
        point = os.path.join(self.folder, "mnt")
        os.mkdir(point)
        return point


class Native(Contender):
    name = "native"
    kind = "reference"
    asks_itself = True

    def start(self):
        self.target = self.image

    def in_cell(self, cell):
        return True

    def check(self):
        if os.stat(self.target).st_dev != os.stat(self.folder).st_dev:
            raise RuntimeError(f"{self.target} is not on the file system that is measured")


class NativeAgain(Native):
    """Native against itself: the machine's noise."""

    name = "native-again"


class Loop(Contender):
    """A loop device with direct I/O below: no FUSE, for comparison."""

    name = "loop-direct"
    kind = "reference"
    modes = ("none",)

    def start(self):
        need("losetup")
        self.target = host.attach_loop(self.image)

    def stop(self):
        if self.target:
            host.detach_loop(self.target)
            self.target = None

    def in_cell(self, cell):
        return cell.application == {"direct"}

    def check(self):
        if not stat.S_ISBLK(os.stat(self.target).st_mode):
            raise RuntimeError(f"{self.target} is not a block device")
        if host.loop_file(self.target) != self.image:
            raise RuntimeError(f"{self.target} is not a loop device of {self.image}")


class Cmfs(Contender):
    """cmfs as it is meant: the kernel does the I/O wherever the mode allows it."""

    name = "cmfs"
    kind = "ours"
    binary = None
    options = "passthrough=on"

    def start(self):
        self.mount([self.image], self.make_point())

    def mount(self, images, point):
        """The target is the last of the images."""
        self.spawn(self.binary, "-f", "-o", f"cache={self.mode},{self.options}", *images, point,
                   point=point, target=os.path.join(point, os.path.basename(images[-1])))

    def in_cell(self, cell):
        return True


class CmfsDaemon(Cmfs):
    """Each request through the daemon, in the cells where cmfs would not do so."""

    name = "cmfs-daemon"
    options = "passthrough=off"

    def in_cell(self, cell):
        return cell.passthrough()


class CmfsSyncflag(Cmfs):
    name = "cmfs-syncflag"
    modes = ("writethrough",)
    options = "syncflag=on"


class StorageDaemon(Contender):
    """qemu-storage-daemon's FUSE export."""

    name = "qsd"
    variants = ("threads", "io_uring", "native", "threads+iothread", "io_uring+iothread",
                "native+iothread")

    def start(self):
        need("qemu-storage-daemon")
        aio, _, iothread = self.variant.partition("+")
        flags = cells.MODE_FLAGS[self.mode]
        if aio == "native" and "direct" not in flags:
            raise Unavailable("aio=native needs a mode with O_DIRECT")
        point = os.path.join(self.folder, "export")
        with open(point, "wb"):
            pass
        cache = (f"cache.direct={'on' if 'direct' in flags else 'off'},"
                 f"cache.no-flush={'on' if self.mode == 'unsafe' else 'off'}")
        # The variants share the image, and only one of them is used at a time.
        file = f"driver=file,node-name=f,filename={self.image},aio={aio},locking=off,{cache}"
        export = (f"type=fuse,id=e,node-name=f,mountpoint={point},writable=on,"
                  f"writethrough={'on' if 'dsync' in flags else 'off'}")
        argv = ["qemu-storage-daemon", "--blockdev", file]
        if iothread:
            argv += ["--object", "iothread,id=t"]
            export += ",iothread=t"
        self.spawn(*argv, "--export", export, point=point, target=point)

    def stop(self):
        # It takes its mount away itself; an unmounted export would leave it running.
        host.end(self.process, ask=True)
        super().stop()


class Nbdfuse(Contender):
    """nbdkit's file plugin behind libnbd's nbdfuse: through the page cache only."""

    name = "nbdfuse"
    modes = ("writeback",)

    def start(self):
        need("nbdkit", "nbdfuse")
        point = self.make_point()
        self.spawn("nbdfuse", point, "[", "nbdkit", "--exit-with-parent", "file", self.image,
                   "]", point=point, target=os.path.join(point, "nbd"))


class Bindfs(Contender):
    """Opens the host file as the application does, but for O_DIRECT, which it drops."""

    name = "bindfs"
    modes = ("writeback", "writethrough")
    asks_itself = True

    def start(self):
        need("bindfs")
        point = self.make_point()
        self.spawn("bindfs", "-f", os.path.dirname(self.image), point, point=point,
                   target=os.path.join(point, os.path.basename(self.image)))


class PassthroughHp(Contender):
    """libfuse's example: opens the host file as the application does, and gives it to the
    kernel. It can have a mode only if the application opens with all of its flags."""

    name = "passthrough_hp"
    kind = "passthrough peer"
    modes = ("writeback", "none", "writethrough", "directsync")
    asks_itself = True
    binary = None

    def start(self):
        if not self.binary:
            raise Unavailable("it is not built here: no g++, or no source of libfuse")
        point = self.make_point()
        self.spawn(self.binary, "--foreground", os.path.dirname(self.image), point, point=point,
                   target=os.path.join(point, os.path.basename(self.image)))

    def in_cell(self, cell):
        flags = cells.MODE_FLAGS[cell.mode]
        return cell.application == flags or (not cell.application and "direct" not in flags)


OURS = (Cmfs, CmfsDaemon, CmfsSyncflag)
REFERENCES = (Native, NativeAgain, Loop)
PEERS = (StorageDaemon, Nbdfuse, Bindfs, PassthroughHp)
