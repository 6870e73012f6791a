# SPDX-License-Identifier: GPL-2.0-or-later
"""The ways of aio= beside each other, by mode, size and depth of requests.

All requests go through the daemon (passthrough=off), and from handles with O_DIRECT, so
that the mount's page cache has no part in it; in modes that cache, the host's holds the
whole image. Ratios are to aio=threads; a second one of it tells the machine's noise.
"""

import contextlib
import os
import statistics

import contenders
from cells import Workload
from measuring import fio, make_image, read_all

MODES = ("none", "directsync", "writethrough", "writeback")

WORKLOADS = [
    Workload(f"{size} {rw}, depth {depth}", f"rand{rw}", size, depth=depth)
    for size in ("4k", "64k", "1m") for rw in ("read", "write") for depth in (1, 32)
]

# Both ends inside a block: of none and directsync, a read-modify-write.
UNALIGNED = [
    Workload(f"{label} write, unaligned, depth 1", "randwrite", size, more=("--bs_unaligned=1",))
    for label, size in (("5000 byte", "5000"), ("1000000 byte", "1000000"))
]


class Threads(contenders.Cmfs):
    name = "threads"
    options = "passthrough=off,aio=threads"


class ThreadsAgain(Threads):
    name = "threads-again"


class Native(contenders.Cmfs):
    name = "native"
    modes = ("none", "directsync")
    options = "passthrough=off,aio=native"


class IoUring(contenders.Cmfs):
    name = "io_uring"
    options = "passthrough=off,aio=io_uring"


WAYS = (Threads, ThreadsAgain, Native, IoUring)


def measure(settings, folder, only_modes):
    """A row for each mode and workload."""
    rows = []
    for mode in (m for m in MODES if only_modes is None or m in only_modes):
        with contextlib.ExitStack() as stack:
            ways = [start(settings, stack, folder, mode, cls) for cls in WAYS if mode in cls.modes]
            direct = mode in ("none", "directsync")
            for workload in WORKLOADS[::3] if settings.quick else WORKLOADS + UNALIGNED * direct:
                rows.append(measure_one(settings, ways, mode, workload))
                print_row(rows[-1])
    return rows


def start(settings, stack, folder, mode, cls):
    place = os.path.join(folder, f"{mode}-{cls.name}")
    os.mkdir(place)
    image = os.path.join(place, "bench.img")
    stack.callback(os.unlink, image)
    make_image(image, settings.image_mib << 20, mode not in ("none", "directsync"))
    way = cls(image, place, mode)
    stack.callback(way.stop)
    way.start()
    way.check()
    if mode not in ("none", "directsync"):
        read_all(image)
    return way


def measure_one(settings, ways, mode, workload):
    rates = {way.name: [] for way in ways}
    engine = "psync" if workload.depth == 1 else "libaio"
    for number in range(settings.rounds):
        shift = number % len(ways)
        for way in ways[shift:] + ways[:shift]:
            rate, _ = fio(way.target, workload, {"direct"}, engine, settings.seconds)
            rates[way.name].append(rate)
    medians = {name: statistics.median(r) for name, r in rates.items()}
    return {
        "mode": mode, "workload": workload.label, "samples": rates, "medians": medians,
        "ratios": {name: m / medians["threads"] for name, m in medians.items()},
        "noise": abs(1 - medians["threads-again"] / medians["threads"]),
    }


def print_row(row):
    ratios = "  ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratios"].items()
                       if not name.startswith("threads"))
    print(f"aio, {row['mode']}, {row['workload']}: threads "
          f"{row['medians']['threads'] / (1 << 20):.1f} MiB/s  {ratios}  "
          f"(noise {row['noise']:.0%})", flush=True)
