# SPDX-License-Identifier: GPL-2.0-or-later
"""Measuring: one run of fio, and all contenders of a mode in turn, round by round."""

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field

import contenders
import host
from cells import MODE_FLAGS, WORKLOADS


@dataclass
class Settings:
    rounds: int
    seconds: float
    image_mib: int
    quick: bool
    left_out: dict = field(default_factory=dict)  # contender: [reason, where, ...]

    def leave_out(self, who, where, why):
        print(f"# {where}: {who} left out: {why}", file=sys.stderr)
        self.left_out.setdefault(f"{who}: {why}", []).append(where)


def fio(target, workload, flags, engine, seconds):
    """Bytes per second of one run, and operations per second."""
    argv = [
        "fio", "--name=bench", f"--filename={target}", "--output-format=json",
        "--group_reporting", "--thread", "--time_based", f"--runtime={seconds * 1000:.0f}ms",
        "--randrepeat=0", "--norandommap", "--fallocate=none", "--allow_file_create=0",
        "--invalidate=0", "--overwrite=1", f"--ioengine={engine}", f"--rw={workload.rw}",
        f"--bs={workload.bs}", f"--iodepth={workload.depth}", f"--numjobs={workload.jobs}",
        f"--size={workload.size}", f"--direct={int('direct' in flags)}", *workload.more,
    ]
    if "dsync" in flags:
        argv.append("--sync=dsync")
    run = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    if run.returncode != 0:
        raise RuntimeError(f"fio: {' '.join((run.stderr or run.stdout).split())[:300]}")
    job = json.loads(run.stdout[run.stdout.index("{"):])["jobs"][0]
    return (job["read"]["bw_bytes"] + job["write"]["bw_bytes"],
            job["read"]["iops"] + job["write"]["iops"])


def make_image(path, size, cached):
    """Fully written, so that no run measures allocation."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for _ in range(size >> 20):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
        if not cached:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_all(path):
    with open(path, "rb", buffering=0) as f:
        while f.read(1 << 20):
            pass


class Stage:
    """All contenders of one mode on one file system, started once and then measured
    cell by cell. `stack` undoes what they do."""

    def __init__(self, settings, stack, folder, filesystem, mode, classes):
        self.settings, self.live = settings, []
        self.cached = "direct" not in MODE_FLAGS[mode]
        for cls in (c for c in classes if mode in c.modes):
            image = os.path.join(folder, cls.name, "bench.img")
            os.makedirs(os.path.dirname(image))
            make_image(image, settings.image_mib << 20, self.cached)
            variants = cls.variants[:2] if settings.quick else cls.variants
            for variant in variants:
                place = os.path.join(folder, f"{cls.name}-{variant}-work")
                os.mkdir(place)
                contender = cls(image, place, mode, variant)
                stack.callback(contender.stop)
                try:
                    contender.start()
                    contender.check()
                    self.live.append(contender)
                except contenders.Unavailable as why:
                    settings.leave_out(f"{cls.name} {variant}".strip(), f"{filesystem}, {mode}",
                                       why)
                    contender.stop()

    def sample(self, contender, cell, seconds):
        """Bytes per second, and what the daemon itself moved for each of these bytes."""
        pids = contender.pids()
        before = host.bytes_moved(pids)
        contender.check()
        rate, _ = fio(contender.target, WORKLOADS[cell.workload], contender.flags(cell),
                      cell.engine(), seconds)
        contender.check()
        return rate, (host.bytes_moved(pids) - before) / max(1, rate * seconds)

    def attempt(self, contender, cell, seconds):
        """A sample, or None from one that cannot do the cell at all."""
        try:
            return self.sample(contender, cell, seconds)
        except (OSError, RuntimeError, subprocess.TimeoutExpired) as why:
            self.settings.leave_out(f"{contender.name} {contender.variant}".strip(),
                                    cell.text(), why)
            return None

    def choose(self, cell):
        """Who takes part: of each contender's variants the best in a short heat."""
        groups = {}
        for contender in self.live:
            if contender.in_cell(cell):
                groups.setdefault(contender.name, []).append(contender)
        chosen = []
        for group in groups.values():
            if len(group) > 1:
                rates = [(self.attempt(c, cell, min(0.2, self.settings.seconds)) or (0,))[0]
                         for c in group]
                group = [group[rates.index(max(rates))]]
            chosen += group
        return chosen

    def measure(self, cell):
        """The cell with a row for each contender."""
        chosen = self.choose(cell)
        if self.cached and "read" in WORKLOADS[cell.workload].rw:
            for contender in chosen:
                read_all(contender.target)
        samples = {c: [] for c in chosen}
        for number in range(self.settings.rounds):
            # Start with another one each round: nobody is always the first.
            shift = number % len(chosen)
            for c in chosen[shift:] + chosen[:shift]:
                if c in samples:
                    samples[c].append(self.attempt(c, cell, self.settings.seconds))
                    if samples[c][-1] is None:
                        del samples[c]
        return summarize(cell, samples)


def summarize(cell, samples):
    rows = {}
    for c, pairs in samples.items():
        rates = [rate for rate, _ in pairs]
        rows[c.name] = {
            "kind": c.kind, "variant": c.variant, "median": statistics.median(rates),
            "min": min(rates), "max": max(rates), "samples": rates,
        }
        if c.kind == "ours":
            rows[c.name]["past_daemon"] = statistics.median(m for _, m in pairs) < 0.1
    native = rows["native"]["median"]
    for r in rows.values():
        r["to_native"] = r["median"] / native
    result = {
        "filesystem": cell.filesystem, "mode": cell.mode,
        "application": cell.application_text(), "workload": cell.workload,
        "expect_passthrough": cell.passthrough(),
        "noise": abs(1 - rows["native-again"]["to_native"]), "rows": rows,
        "best_peer": best(rows, ("peer", "passthrough peer")),
        "best_daemon_peer": best(rows, ("peer",)),
    }
    for r in rows.values():
        if r["kind"] == "ours" and result["best_peer"]:
            r["to_best_peer"] = r["median"] / rows[result["best_peer"]]["median"]
        if r["kind"] == "ours" and result["best_daemon_peer"]:
            r["to_best_daemon_peer"] = r["median"] / rows[result["best_daemon_peer"]]["median"]
    return result


def best(rows, kinds):
    names = [name for name, r in rows.items() if r["kind"] in kinds]
    return max(names, key=lambda name: rows[name]["median"], default=None)
