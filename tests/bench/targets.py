# SPDX-License-Identifier: GPL-2.0-or-later
"""The goals, and whether a run reaches them.

A ratio is one of medians of the same run. Handles that the kernel serves are compared
with the best FUSE peer of all; handles that the daemon serves, and where the goal is a
multiple, with the best of the peers that move the data themselves as well. A ratio
that is short by less than native differs from itself in that cell is "noise".
"""

from dataclasses import dataclass
from typing import Callable

import memory

SEQUENTIAL = ("seqread-1m", "seqwrite-1m")
DEPTH_32 = ("randread-4k-qd32", "randwrite-4k-qd32")
DEPTH_1 = ("randread-4k-qd1", "randwrite-4k-qd1")
WRITES_4K = ("randwrite-4k-qd1", "randwrite-4k-4jobs")


@dataclass(frozen=True)
class Target:
    title: str
    applies: Callable  # of a cell, a contender's name and whether the kernel serves it
    native: float | None
    peer: float | None
    peer_key: str = "to_best_daemon_peer"


def served_by(cell):
    """Names of the cmfs whose I/O the kernel does in a cell, and of the one whose daemon
    does it; None where there is none."""
    rows = cell["rows"]
    if cell["expect_passthrough"]:
        names = "cmfs", "cmfs-daemon"
    else:
        names = "cmfs-syncflag", "cmfs"
    return [name if name in rows else None for name in names]


def bypassing(cell, served, workloads):
    return (cell["mode"] in ("none", "directsync") and not served
            and cell["workload"] in workloads)


def writethrough(cell, name, wanted, workloads):
    return (cell["mode"] == "writethrough" and name == wanted
            and cell["workload"] in workloads)


TARGETS = [
    Target("passthrough: every read and write",
           lambda c, n, served: served and "fdatasync" not in c["workload"],
           0.95, 1.0, "to_best_peer"),
    Target("passthrough: buffered 4 KiB, against daemons",
           lambda c, n, served: served and "4k" in c["workload"]
           and "fdatasync" not in c["workload"] and c["application"] == "plain"
           and c["mode"] in ("writeback", "unsafe"), None, 5.0),
    Target("daemon: none, directsync, 4 KiB, depth 32",
           lambda c, n, served: bypassing(c, served, DEPTH_32), 0.85, 1.2),
    Target("daemon: none, directsync, 4 KiB, depth 1",
           lambda c, n, served: bypassing(c, served, DEPTH_1), 0.80, 1.1),
    Target("daemon: 1 MiB sequential, any mode",
           lambda c, n, served: not served and c["workload"] in SEQUENTIAL, 0.90, 1.2),
    Target("writethrough: warm cached reads",
           lambda c, n, served: writethrough(c, n, "cmfs", ("warm-read-4k",)), 0.90, 5.0),
    Target("writethrough: 4 KiB writes",
           lambda c, n, served: writethrough(c, n, "cmfs", WRITES_4K), 0.85, 1.3),
    Target("writethrough: 4 KiB writes, syncflag=on",
           lambda c, n, served: writethrough(c, n, "cmfs-syncflag", WRITES_4K), 0.85, 1.3),
]


def judge(ratios, want, noises):
    """How many of the ratios reach a goal, how many but for noise, and the least one."""
    if want is None or not ratios:
        return None
    met = sum(r >= want for r in ratios)
    near = sum(want > r >= want * (1 - n) for r, n in zip(ratios, noises))
    return {"want": want, "worst": min(ratios), "met": met, "noise": near, "of": len(ratios)}


def verdict(judgements):
    known = [j for j in judgements if j]
    if not known:
        return "not measured"
    if all(j["met"] == j["of"] for j in known):
        return "pass"
    if all(j["met"] + j["noise"] == j["of"] for j in known):
        return "pass but for noise"
    return "MISS"


def evaluate(result):
    """A line for each goal, from the cells on the host's own file system."""
    own = result["machine"]["filesystem"]
    lines = []
    for target in TARGETS:
        found = [(c, n, r) for c in result["cells"] if c["filesystem"] == own
                 for n, r in c["rows"].items() if r["kind"] == "ours"
                 and target.applies(c, n, n == served_by(c)[0])]
        native = judge([r["to_native"] for _, _, r in found], target.native,
                       [c["noise"] for c, _, _ in found])
        compared = [(c, n, r) for c, n, r in found if target.peer_key in r]
        peer = judge([r[target.peer_key] for _, _, r in compared], target.peer,
                     [c["noise"] for c, _, _ in compared])
        lines.append({
            "title": target.title, "native": native, "peer": peer,
            "verdict": verdict([native, peer]),
            "misses": sorted({miss for c, n, r in found for miss in [miss_text(target, c, n, r)]
                              if miss}),
        })
    lines.append(evaluate_memory(result["memory"]))
    return lines


def miss_text(target, cell, name, row):
    short = []
    if target.native and row["to_native"] < target.native * (1 - cell["noise"]):
        short.append(f"{row['to_native']:.2f} of native, {target.native} wanted")
    ratio = row.get(target.peer_key)
    if target.peer and ratio and ratio < target.peer * (1 - cell["noise"]):
        key = "best_peer" if target.peer_key == "to_best_peer" else "best_daemon_peer"
        short.append(f"{ratio:.2f} of {cell[key]}, {target.peer} wanted")
    return short and (f"{name}, {cell['mode']}, {cell['application']}, "
                      f"{cell['workload']}: {'; '.join(short)}")


def evaluate_memory(rows):
    """The larger of the two cmfs against the smallest peer."""
    line = {"title": "memory: peak RSS, depth 32 x 1 MiB", "native": None, "peer": None,
            "misses": []}
    ours = [r for r in rows if r["kind"] == "ours"]
    peer = memory.smallest_peer(rows)
    if ours and peer:
        largest = max(ours, key=lambda r: r["qd32_1m_kib"])
        line["peer"] = judge([peer["qd32_1m_kib"] / max(1, r["qd32_1m_kib"]) for r in ours],
                             1.0, [0] * len(ours))
        if line["peer"]["met"] < len(ours):
            line["misses"] = [f"{largest['contender']} {largest['qd32_1m_kib']} KiB, "
                              f"{peer['contender']} {peer['qd32_1m_kib']} KiB"]
    line["verdict"] = verdict([line["peer"]])
    return line


def unexpected_paths(cells):
    """Cells that are the kernel's to serve, but whose data went through the daemon."""
    wrong = []
    for c in cells:
        name = served_by(c)[0]
        if name and not c["rows"][name]["past_daemon"]:
            wrong.append(f"{name}, {c['filesystem']}, {c['mode']}, {c['application']}, "
                         f"{c['workload']}")
    return wrong
