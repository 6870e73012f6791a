# SPDX-License-Identifier: GPL-2.0-or-later
"""Growth: what more images, more open handles and larger images cost.

All images are sparse and read where nothing is stored: the device is out of it, and
what is left of the latency is the path through the file systems. One read of 4 KiB
at a time, O_DIRECT, mode none; native is the same on the host file.
"""

import contextlib
import errno
import os
import statistics
import time

import contenders
import host
from cells import Workload
from measuring import fio

READ = Workload("", "randread", "4k")
MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
COUNTS = (1, 10, 100, 1000)
SIZES = (MIB, 32 * MIB, GIB, 32 * GIB, TIB, 8 * TIB)


def measure(settings, folder):
    rounds = 1 if settings.quick else 3
    counts = COUNTS[:3] if settings.quick else COUNTS
    sizes = SIZES[::2] + SIZES[-1:] if settings.quick else SIZES
    run = Growth(settings, folder)
    return {
        "images": [run.point(rounds, images=n) for n in counts],
        "handles": [run.point(rounds, handles=n) for n in counts],
        "sizes": [p for p in (run.point(rounds, size=s) for s in sizes) if p],
    }


class Growth:
    def __init__(self, settings, folder):
        self.settings, self.folder, self.serial = settings, folder, 0

    def point(self, rounds, images=1, handles=1, size=64 * MIB):
        """Medians of one point, or None where the file system has no such file."""
        data = self.new_folder()
        files = [os.path.join(data, f"image-{i:04}.img") for i in range(images)]
        for file in files:
            with open(file, "wb") as f:
                try:
                    f.truncate(size)
                except OSError as e:
                    if e.errno != errno.EFBIG:
                        raise
                    self.settings.leave_out(f"size {size >> 40} TiB", "growth", e.strerror)
                    return None
        result = {"images": images, "handles": handles, "size": size,
                  "native": {"latency_us": []}}
        for _ in range(rounds):
            result["native"]["latency_us"].append(self.latency(files[-1]))
            for cls in (contenders.Cmfs, contenders.CmfsDaemon):
                for key, value in self.one(cls, files, handles).items():
                    result.setdefault(cls.name, {}).setdefault(key, []).append(value)
        for value in result.values():
            if isinstance(value, dict):
                value.update({k: statistics.median(v) for k, v in value.items()})
        for file in files:
            os.unlink(file)
        return result

    def one(self, cls, files, handles):
        """One mount with so many images, of which one is open so many times."""
        contender = cls(files[-1], self.new_folder(), "none")
        with contextlib.ExitStack() as stack:
            stack.callback(contender.stop)
            began = time.monotonic()
            contender.mount(files, contender.make_point())
            mounted = time.monotonic()
            contender.check()
            for _ in range(handles - 1):
                stack.callback(os.close, os.open(contender.target, os.O_RDWR | os.O_DIRECT))
            opened = time.monotonic()
            latency = self.latency(contender.target)
            contender.check()
            return {
                "mount_ms": (mounted - began) * 1000,
                "open_us": (opened - mounted) * 1e6 / max(1, handles - 1),
                "latency_us": latency,
                "rss_kib": host.status_kib(contender.pids(), "VmRSS"),
            }

    def latency(self, path):
        _, iops = fio(path, READ, {"direct"}, "psync", self.settings.seconds)
        return 1e6 / iops

    def new_folder(self):
        self.serial += 1
        path = os.path.join(self.folder, str(self.serial))
        os.mkdir(path)
        return path
