# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: workloads, and the cells of the table.

A cell is a file system, a cache mode, the flags the application opens with and a
workload. The lists hold what users do, not every combination.
"""

from dataclasses import dataclass

# Of each mode, the flags that the host file is opened with.
MODE_FLAGS = {
    "writeback": set(),
    "none": {"direct"},
    "writethrough": {"dsync"},
    "directsync": {"direct", "dsync"},
    "unsafe": set(),
}

# Of each mode, the least flags of an open that the kernel serves by passthrough.
PASSTHROUGH_FLAGS = {
    "writeback": set(),
    "none": {"direct"},
    "directsync": {"direct", "dsync"},
    "unsafe": set(),
}


@dataclass(frozen=True)
class Workload:
    label: str
    rw: str
    bs: str
    depth: int = 1
    jobs: int = 1
    size: str = "100%"
    more: tuple = ()


WORKLOADS = {
    "randread-4k-qd1": Workload("4k read", "randread", "4k"),
    "randwrite-4k-qd1": Workload("4k write", "randwrite", "4k"),
    "randread-4k-qd32": Workload("4k read, depth 32", "randread", "4k", depth=32),
    "randwrite-4k-qd32": Workload("4k write, depth 32", "randwrite", "4k", depth=32),
    "randread-4k-4jobs": Workload("4k read, 4 jobs", "randread", "4k", jobs=4),
    "randwrite-4k-4jobs": Workload("4k write, 4 jobs", "randwrite", "4k", jobs=4),
    "seqread-1m": Workload("1M sequential read", "read", "1m"),
    "seqwrite-1m": Workload("1M sequential write", "write", "1m"),
    "mixed-64k": Workload("64k mixed 70/30", "randrw", "64k", more=("--rwmixread=70",)),
    "write-4k-fdatasync": Workload("4k write + fdatasync", "randwrite", "4k",
                                   more=("--fdatasync=1",)),
    "warm-read-4k": Workload("4k read, 64M, warm", "randread", "4k", size="64m"),
}

RANDOM_1 = ("randread-4k-qd1", "randwrite-4k-qd1")
RANDOM_32 = ("randread-4k-qd32", "randwrite-4k-qd32")
RANDOM_JOBS = ("randread-4k-4jobs", "randwrite-4k-4jobs")
SEQUENTIAL = ("seqread-1m", "seqwrite-1m")

# Mode, application's flags, workloads. O_DIRECT in a mode that caches has no use
# but to show that the application gets what it asks for. Depth is for O_DIRECT:
# without, libaio waits in io_submit, and io_uring takes a thread for each request of
# a file that cannot say EAGAIN, as no FUSE file can (0.1 of native, passthrough too).
HOST_CELLS = [
    ("writeback", "", RANDOM_1 + RANDOM_JOBS + SEQUENTIAL +
     ("mixed-64k", "write-4k-fdatasync", "warm-read-4k")),
    ("writeback", "direct", ("randread-4k-qd32",)),
    ("none", "", RANDOM_1 + ("randwrite-4k-4jobs",) + SEQUENTIAL + ("mixed-64k",)),
    ("none", "direct", RANDOM_1 + RANDOM_32 + ("randwrite-4k-4jobs",) + SEQUENTIAL +
     ("mixed-64k", "write-4k-fdatasync")),
    ("directsync", "", RANDOM_1 + ("randwrite-4k-4jobs", "seqwrite-1m")),
    ("directsync", "direct", ("randwrite-4k-qd1", "randwrite-4k-qd32")),
    ("directsync", "direct,dsync", RANDOM_1 + RANDOM_32 + SEQUENTIAL),
    ("writethrough", "", ("warm-read-4k", "randwrite-4k-qd1", "randwrite-4k-4jobs") +
     SEQUENTIAL + ("mixed-64k",)),
    ("unsafe", "", ("randwrite-4k-qd1", "seqwrite-1m", "write-4k-fdatasync")),
]

# The same on XFS in a loop device: enough to see whether the file system matters.
XFS_CELLS = [
    ("writeback", "", RANDOM_1),
    ("none", "direct", RANDOM_32 + ("seqwrite-1m",)),
    ("directsync", "direct,dsync", ("randwrite-4k-qd1",)),
]

QUICK_WORKLOADS = {"randread-4k-qd1", "randwrite-4k-qd32", "seqwrite-1m", "warm-read-4k"}
QUICK_XFS_WORKLOADS = {"randread-4k-qd1", "randwrite-4k-qd32"}


@dataclass(frozen=True)
class Cell:
    filesystem: str
    mode: str
    application: frozenset
    workload: str

    def passthrough(self):
        """Whether cmfs is to hand this open over to the kernel."""
        least = PASSTHROUGH_FLAGS.get(self.mode)
        return least is not None and least <= self.application

    def engine(self):
        return "psync" if WORKLOADS[self.workload].depth == 1 else "libaio"

    def application_text(self):
        names = [f"O_{flag.upper()}" for flag in sorted(self.application)]
        return "|".join(names) or "plain"

    def text(self):
        return (f"{self.filesystem}, {self.mode}, {self.application_text()}, "
                f"{WORKLOADS[self.workload].label}")


def choose(filesystem, table, only_modes, only_workloads):
    """The cells of a table, on a file system, but for those not wanted."""
    return [
        Cell(filesystem, mode, frozenset(filter(None, flags.split(","))), workload)
        for mode, flags, workloads in table
        for workload in workloads
        if (only_modes is None or mode in only_modes)
        and (only_workloads is None or workload in only_workloads)
    ]
