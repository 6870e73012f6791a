#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measure cmfs beside the host file and beside other FUSE exports.

A cell is a file system, a cache mode, the application's open flags and a workload. In
each of several rounds every contender runs the cell once, in turn, so that a noisy
minute hits all of them; reported are medians with minimum and maximum, and the ratios
to native (fio on the host file with the mode's flags) and to the best FUSE peer.
native-again is native once more: how far its ratio is from 1 is the machine's noise.
Memory and growth follow, and at the end the goals and whether they are reached.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
import time

import aio
import cells
import contenders
import growth
import host
import memory
import plots
import report
import targets
from measuring import Settings, Stage

PARTS = ("cells", "xfs", "memory", "growth", "aio")


def parse_args():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)

    def names(*known):
        def parse(text):
            wrong = [name for name in text.split(",") if name and name not in known]
            if wrong:
                raise argparse.ArgumentTypeError(f"{wrong[0]} is none of {', '.join(known)}")
            return [name for name in text.split(",") if name]
        return parse

    peers = dict.fromkeys(c.name for c in contenders.PEERS)

    p.add_argument("--cmfs", help="the cmfs to measure")
    p.add_argument("--passthrough-hp", help="libfuse's example, if it is built")
    p.add_argument("--quick", action="store_true", help="few cells and rounds: a smoke test")
    p.add_argument("--peers", type=names(*peers),
                   help=f"of {', '.join(peers)}, only these; '' for none")
    p.add_argument("--modes", type=names(*cells.MODE_FLAGS), help="only these cache modes")
    p.add_argument("--workloads", type=names(*cells.WORKLOADS),
                   help=f"of {', '.join(cells.WORKLOADS)}, only these")
    p.add_argument("--parts", type=names(*PARTS), default=PARTS, help=f"of {','.join(PARTS)}, only these")
    p.add_argument("--rounds", type=int, help="default: 5")
    p.add_argument("--seconds", type=float, help="of one sample; default: 0.4")
    p.add_argument("--size", type=int, help="image size in MiB; default: 256")
    p.add_argument("--dir", default="/var/tmp", help="where the images are made")
    p.add_argument("--out", help="a folder for README.md, CSV, JSON and plots")
    p.add_argument("--replay", help="measure nothing: write --out anew from this results.json")
    args = p.parse_args()
    rounds, seconds, size = (2, 0.3, 64) if args.quick else (5, 0.4, 256)
    args.rounds, args.seconds = args.rounds or rounds, args.seconds or seconds
    args.size = max(64, args.size or size)
    return args


def measure_table(args, settings, folder, filesystem, table, quick, classes):
    """All cells of a table, mode by mode."""
    wanted = args.workloads or (quick if args.quick else None)
    chosen = cells.choose(filesystem, table, args.modes, wanted)
    measured = []
    for mode in dict.fromkeys(c.mode for c in chosen):
        place = os.path.join(folder, mode)
        os.mkdir(place)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, place)
            stage = Stage(settings, stack, place, filesystem, mode, classes)
            for cell in (c for c in chosen if c.mode == mode):
                measured.append(stage.measure(cell))
                report.print_cell(measured[-1])
    return measured


def measure_all(args, settings, stack, folder, classes):
    own = host.filesystem_of(folder)
    result = {"cells": [], "memory": [], "growth": {}, "aio": []}

    def place(name):
        path = os.path.join(folder, name)
        os.mkdir(path)
        return path

    if "cells" in args.parts:
        result["cells"] += measure_table(args, settings, place("cells"), own, cells.HOST_CELLS,
                                         cells.QUICK_WORKLOADS, classes)
    if "xfs" in args.parts:
        with contextlib.ExitStack() as inner:
            point = host.xfs_in_loop(inner, place("loop"), 1024 + 16 * args.size)
            result["cells"] += measure_table(args, settings, point, "xfs in a loop",
                                             cells.XFS_CELLS, cells.QUICK_XFS_WORKLOADS,
                                             classes)
    if "memory" in args.parts:
        result["memory"] = memory.measure(settings, stack, place("memory"), classes)
    if "growth" in args.parts:
        result["growth"] = growth.measure(settings, place("growth"))
    if "aio" in args.parts:
        result["aio"] = aio.measure(settings, place("aio"), args.modes)
    return result


def run(args):
    began = time.monotonic()
    settings = Settings(args.rounds, args.seconds, args.size, args.quick)
    peers = [c for c in contenders.PEERS if args.peers is None or c.name in args.peers]
    classes = [*contenders.REFERENCES, *contenders.OURS, *peers]
    contenders.Cmfs.binary = args.cmfs
    contenders.PassthroughHp.binary = args.passthrough_hp
    with contextlib.ExitStack() as stack:
        folder = os.path.realpath(tempfile.mkdtemp(prefix="cmfs-bench.", dir=args.dir))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        machine = host.describe(folder)
        result = measure_all(args, settings, stack, folder, classes)
    ours = [a for a in sys.argv[1:] if a not in ("--cmfs", args.cmfs, "--passthrough-hp",
                                                 args.passthrough_hp)]
    return {
        "command": shlex.join(["tests/bench/run.sh", *ours]), "machine": machine,
        "minutes": (time.monotonic() - began) / 60, "rounds": args.rounds,
        "seconds": args.seconds, "image_mib": args.size, "left_out": settings.left_out, **result,
    }


def main():
    args = parse_args()
    host.raise_on_signals()
    if args.replay:
        with open(args.replay, encoding="utf-8") as f:
            result = json.load(f)
    else:
        result = run(args)
    result["targets"] = targets.evaluate(result)
    result["unexpected_paths"] = targets.unexpected_paths(result["cells"])
    report.print_end(result)
    print(f"\n{result['minutes']:.1f} minutes")
    if args.out:
        report.write(args.out, result)
        plots.draw(args.out, result)


if __name__ == "__main__":
    main()
