#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure cmfs beside the host file and beside other FUSE exports.

A cell is a cache mode, the application's open flags and a workload. In each of
several rounds every contender runs the cell once, in turn, so that a noisy
minute hits all of them; reported are medians with minimum and maximum, and the
ratios to native (fio on the host file with the mode's flags) and to the best
FUSE peer. native-again is native once more: how far its ratio is from 1 is the
machine's noise.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import contenders

# Name, fio options, and which application flags make sense with it.
WORKLOADS = {
    "randread-4k-qd1": "--rw=randread --bs=4k",
    "randwrite-4k-qd1": "--rw=randwrite --bs=4k",
    "randread-4k-qd32": "--rw=randread --bs=4k --iodepth=32",
    "randwrite-4k-qd32": "--rw=randwrite --bs=4k --iodepth=32",
    "randread-4k-4jobs": "--rw=randread --bs=4k --numjobs=4",
    "randwrite-4k-4jobs": "--rw=randwrite --bs=4k --numjobs=4",
    "seqread-1m": "--rw=read --bs=1m",
    "seqwrite-1m": "--rw=write --bs=1m",
    "mixed-64k": "--rw=randrw --rwmixread=70 --bs=64k",
    "write-4k-fdatasync": "--rw=randwrite --bs=4k --fdatasync=1",
    "warm-read-4k": "--rw=randread --bs=4k --size=64m",
}

# Mode, application flags, workloads: what users do, not every combination.
CELLS = [
    ("writeback", "", ["randread-4k-qd1", "randwrite-4k-qd1", "randread-4k-4jobs",
                       "randwrite-4k-4jobs", "seqread-1m", "seqwrite-1m", "mixed-64k",
                       "write-4k-fdatasync", "warm-read-4k"]),
    ("none", "", ["randread-4k-qd1", "randwrite-4k-qd1", "randwrite-4k-4jobs", "seqread-1m",
                  "seqwrite-1m", "mixed-64k"]),
    ("none", "direct", ["randread-4k-qd1", "randwrite-4k-qd1", "randread-4k-qd32",
                        "randwrite-4k-qd32", "seqread-1m", "seqwrite-1m", "mixed-64k",
                        "write-4k-fdatasync"]),
    ("directsync", "", ["randwrite-4k-qd1", "randwrite-4k-4jobs", "seqwrite-1m"]),
    ("directsync", "direct", ["randwrite-4k-qd1", "randwrite-4k-qd32", "seqwrite-1m"]),
    ("directsync", "direct,dsync", ["randwrite-4k-qd1", "randwrite-4k-qd32", "seqwrite-1m"]),
    ("writethrough", "", ["randwrite-4k-qd1", "seqwrite-1m", "warm-read-4k", "mixed-64k"]),
    ("unsafe", "", ["randwrite-4k-qd1", "write-4k-fdatasync"]),
]


def fio(target, flags, workload, seconds):
    """Bytes per second of one run."""
    options = WORKLOADS[workload].split()
    deep = "iodepth" in WORKLOADS[workload]
    argv = [
        "fio", "--name=bench", f"--filename={target}", "--output-format=json", "--group_reporting",
        f"--ioengine={'libaio' if deep else 'psync'}", "--time_based", f"--runtime={seconds}",
        "--size=100%", "--randrepeat=0", "--fallocate=none", "--allow_file_create=0",
        "--thread", "--norandommap", "--invalidate=0", "--overwrite=1",
        f"--direct={int('direct' in flags)}",
    ]
    if "dsync" in flags:
        argv.append("--sync=dsync")
    run = subprocess.run(argv + options, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"fio on {target}: {run.stderr or run.stdout}")
    job = json.loads(run.stdout[run.stdout.index("{"):])["jobs"][0]
    return job["read"]["bw_bytes"] + job["write"]["bw_bytes"]


def make_image(path, size):
    """Fully written, so that no run measures allocation."""
    subprocess.run(
        ["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={size >> 20}", "conv=fsync",
         "status=none"], check=True)


def peak_rss_kib(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            for line in f:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return None


class Run:
    """All contenders of one mode, started once and measured cell by cell."""

    def __init__(self, args, folder, mode, classes):
        self.args, self.mode, self.live = args, mode, []
        for cls in classes:
            if mode not in cls.modes:
                continue
            place = os.path.join(folder, f"{mode}-{cls.name}")
            os.makedirs(os.path.join(place, "data"))
            image = os.path.join(place, "data", "bench.img")
            make_image(image, args.size << 20)
            contender = cls(image, place, mode)
            try:
                contender.start()
            except contenders.Unavailable as why:
                print(f"# {mode}: {cls.name} left out: {why}", file=sys.stderr)
                continue
            self.live.append(contender)

    def measure(self, app_flags, workload):
        app = set(filter(None, app_flags.split(",")))
        samples = {c.name: [] for c in self.live}
        for number in range(self.args.rounds):
            # Start with another one each round: nobody is always the first.
            shift = number % len(self.live)
            for c in self.live[shift:] + self.live[:shift]:
                flags = app | c.native_flags()
                samples[c.name].append(fio(c.target, flags, workload, self.args.seconds))
        return samples

    def memory(self):
        return {c.name: peak_rss_kib(c.pid()) for c in self.live if c.pid()}

    def stop(self):
        for c in self.live:
            c.stop()


def row(mode, app_flags, workload, name, samples, medians, peers):
    best_peer = max((medians[p] for p in peers if p in medians), default=None)
    m = medians[name]
    return {
        "mode": mode, "application": app_flags or "plain", "workload": workload,
        "contender": name, "median_mib_s": m / 2**20, "min_mib_s": min(samples) / 2**20,
        "max_mib_s": max(samples) / 2**20, "to_native": m / medians["native"],
        "to_best_peer": m / best_peer if best_peer else None, "rounds": len(samples),
    }


def print_cell(rows):
    head = rows[0]
    print(f"\n{head['mode']}, application {head['application']}, {head['workload']}")
    for r in rows:
        peer = f"{r['to_best_peer']:8.2f}" if r["to_best_peer"] else "       -"
        print(f"  {r['contender']:<14}{r['median_mib_s']:10.1f} MiB/s "
              f"({r['min_mib_s']:.1f}-{r['max_mib_s']:.1f}){r['to_native']:8.2f} native"
              f"{peer} best peer", flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((l.split(":")[1].strip() for l in f if l.startswith("model name")), "?")
    return {"kernel": platform.release(), "cpu": cpu, "cpus": os.cpu_count(),
            "date": time.strftime("%Y-%m-%d")}


def write_results(out, rows, memory, args):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "results.csv"), "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as f:
        json.dump({"machine": machine() | {"filesystem": args.filesystem},
                   "seconds": args.seconds, "image_mib": args.size, "rows": rows,
                   "peak_rss_kib": memory}, f, indent=1)


def filesystem_of(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], check=True, capture_output=True,
                          text=True).stdout.strip()


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cmfs", required=True, help="the cmfs to measure")
    p.add_argument("--quick", action="store_true", help="few rounds, short runs: a smoke test")
    p.add_argument("--peers", help="of the peers, only these (comma-separated; '' for none)")
    p.add_argument("--modes", help="only these cache modes")
    p.add_argument("--workloads", help="only these workloads")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--size", type=int, default=256, help="image size in MiB")
    p.add_argument("--dir", default="/var/tmp", help="where the images are made")
    p.add_argument("--out", help="a folder for results.csv and results.json")
    args = p.parse_args()
    if args.quick:
        args.rounds, args.seconds, args.size = 2, 1, 64
    return args


def main():
    args = parse_args()
    contenders.Cmfs.binary = args.cmfs
    wanted = None if args.peers is None else args.peers.split(",")
    peers = [c for c in contenders.PEERS if wanted is None or c.name in wanted]
    classes = list(contenders.REFERENCES) + list(contenders.OURS) + peers
    folder = tempfile.mkdtemp(prefix="cmfs-bench.", dir=args.dir)
    args.filesystem = filesystem_of(folder)
    rows, memory, run = [], {}, None
    try:
        for mode in dict.fromkeys(c[0] for c in CELLS):
            if args.modes and mode not in args.modes.split(","):
                continue
            run = Run(args, folder, mode, classes)
            for cell_mode, app_flags, workloads in CELLS:
                for workload in workloads if cell_mode == mode else []:
                    if args.workloads and workload not in args.workloads.split(","):
                        continue
                    samples = run.measure(app_flags, workload)
                    medians = {n: statistics.median(s) for n, s in samples.items()}
                    cell = [row(mode, app_flags, workload, n, s, medians, [p.name for p in peers])
                            for n, s in samples.items()]
                    print_cell(cell)
                    rows += cell
            memory[mode] = run.memory()
            run.stop()
            run = None
            for entry in os.listdir(folder):
                shutil.rmtree(os.path.join(folder, entry))
    finally:
        if run:
            run.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print("\npeak RSS of the daemons, KiB:")
    for mode, values in memory.items():
        print(f"  {mode}: " + ", ".join(f"{n} {v}" for n, v in values.items() if v))
    if args.out and rows:
        write_results(args.out, rows, memory, args)


if __name__ == "__main__":
    main()
