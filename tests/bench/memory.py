# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory: what a daemon has resident, idle and at its peak under load.

All are opened with O_DIRECT, whatever they make of it, as only this brings 32 requests
at a time to each of them.
"""

import os
import subprocess

import contenders
import host
from cells import Workload
from measuring import fio, make_image

LOADS = {
    "qd32_4k": Workload("", "randrw", "4k", depth=32),
    "qd32_1m": Workload("", "randrw", "1m", depth=32),
}


def measure(settings, stack, folder, classes):
    """A row for each daemon, each in the mode none where it has it: peaks in KiB."""
    rows = []
    for cls in classes:
        if not issubclass(cls, (contenders.Cmfs, *contenders.PEERS)):
            continue
        mode = "none" if "none" in cls.modes else "writeback"
        if cls is contenders.CmfsSyncflag:
            continue
        image = os.path.join(folder, cls.name, "bench.img")
        os.makedirs(os.path.dirname(image))
        make_image(image, settings.image_mib << 20, False)
        for variant in cls.variants[:2] if settings.quick else cls.variants:
            place = os.path.join(folder, f"{cls.name}-{variant}-work")
            os.mkdir(place)
            contender = cls(image, place, mode, variant)
            stack.callback(contender.stop)
            try:
                contender.start()
                rows.append(measure_one(contender, settings))
            except (contenders.Unavailable, RuntimeError, subprocess.TimeoutExpired) as why:
                settings.leave_out(f"{cls.name} {variant}".strip(), "memory", why)
            contender.stop()
    return rows


def measure_one(contender, settings):
    contender.check()
    row = {
        "contender": contender.name, "variant": contender.variant, "kind": contender.kind,
        "mode": contender.mode, "idle_kib": host.status_kib(contender.pids(), "VmHWM"),
    }
    for name, load in LOADS.items():
        host.forget_peak(contender.pids())
        fio(contender.target, load, {"direct"}, "libaio", 1)
        contender.check()
        row[f"{name}_kib"] = host.status_kib(contender.pids(), "VmHWM")
    return row


def smallest_peer(rows):
    """The smallest peak under 1 MiB requests of a FUSE peer, or None."""
    peers = [r for r in rows if "peer" in r["kind"]]
    return min(peers, key=lambda r: r["qd32_1m_kib"], default=None)
