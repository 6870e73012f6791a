# SPDX-License-Identifier: GPL-2.0-or-later
"""The results for people and programs: terminal, CSV, JSON, Markdown."""

import csv
import json
import os

import targets
from cells import WORKLOADS

MIB = 1 << 20


def print_cell(cell):
    print(f"\n{cell['filesystem']}, {cell['mode']}, application {cell['application']}, "
          f"{cell['workload']}  (noise {cell['noise']:.0%})")
    for name, r in cell["rows"].items():
        ratio = f"{r['to_best_peer']:8.2f} {cell['best_peer']}" if "to_best_peer" in r else ""
        full = f"{name} {r['variant']}".strip()
        print(f"  {full:<26}{r['median'] / MIB:9.1f} MiB/s "
              f"{'(' + span(r) + ')':<19}{r['to_native']:8.2f} native{ratio}", flush=True)


def span(row):
    return f"{row['min'] / MIB:.1f}-{row['max'] / MIB:.1f}"


def print_end(result):
    for table in (memory_table(result["memory"]), growth_table(result["growth"]),
                  aio_table(result.get("aio", [])),
                  target_table(result["targets"] if result["cells"] else [])):
        if len(table) > 2: # more than its head
            print("\n" + "\n".join(table))
    for t in result["targets"]:
        for miss in t["misses"]:
            print(f"  {t['title']}: {miss}")
    for path in result["unexpected_paths"]:
        print(f"  went through the daemon and should not have: {path}")


def aligned(rows):
    """A Markdown table that is also readable as it is."""
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(str(v).ljust(w) for v, w in zip(r, widths)) + " |" for r in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return lines


def goal(judgement):
    if not judgement:
        return "-"
    return (f"{judgement['worst']:.2f} (>= {judgement['want']:.2f}), "
            f"{judgement['met']} of {judgement['of']}")


def target_table(lines):
    rows = [("goal", "least ratio to native, met in", "least ratio to peer, met in", "")]
    rows += [(t["title"], goal(t["native"]), goal(t["peer"]), t["verdict"]) for t in lines]
    return aligned(rows)


def memory_table(memory):
    rows = [("peak RSS, MiB", "mode", "idle", "depth 32 x 4 KiB", "depth 32 x 1 MiB")]
    for m in memory:
        rows.append((f"{m['contender']} {m['variant']}".strip(), m["mode"],
                     *(f"{m[key] / 1024:.1f}" for key in ("idle_kib", "qd32_4k_kib",
                                                          "qd32_1m_kib"))))
    return aligned(rows)


def size_text(size):
    for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size >= factor:
            return f"{size // factor} {unit}"
    return str(size)


def growth_table(growth):
    rows = [("growth", "mount, ms", "RSS, MiB", "latency, us: native", "cmfs", "cmfs-daemon")]
    for kind, points in growth.items():
        for p in points:
            ours, daemon = p["cmfs"], p["cmfs-daemon"]
            what = size_text(p["size"]) if kind == "sizes" else f"{p[kind]} {kind}"
            rows.append((what, f"{daemon['mount_ms']:.0f}", f"{daemon['rss_kib'] / 1024:.1f}",
                         f"{p['native']['latency_us']:.1f}", f"{ours['latency_us']:.1f}",
                         f"{daemon['latency_us']:.1f}"))
    return aligned(rows)


def aio_table(rows):
    """Ratios to aio=threads."""
    names = ("native", "io_uring")
    table = [("mode", "work", "threads, MiB/s (min-max)", "noise", *names)]
    for r in rows:
        samples = r["samples"]["threads"]
        table.append((r["mode"], r["workload"],
                      f"{r['medians']['threads'] / MIB:.1f} "
                      f"({min(samples) / MIB:.1f}-{max(samples) / MIB:.1f})",
                      f"{r['noise']:.0%}",
                      *(f"{r['ratios'][n]:.2f}" if n in r["ratios"] else "-" for n in names)))
    return aligned(table)


def ratio(cell, name, key="to_native"):
    value = cell["rows"][name].get(key) if name else None
    return "-" if value is None else f"{value:.2f}"


def cell_table(cells):
    rows = [("mode", "application", "work", "native, MiB/s (min-max)", "noise",
             "cmfs, kernel", "cmfs, daemon", "best peer", "kernel / best peer",
             "daemon / best daemon peer")]
    for c in cells:
        native, peer = c["rows"]["native"], c["best_peer"]
        kernel, daemon = targets.served_by(c)
        variant = c["rows"][peer]["variant"] if peer else ""
        rows.append((
            c["mode"], c["application"].replace("|", ", "), WORKLOADS[c["workload"]].label,
            f"{native['median'] / MIB:.0f} ({span(native)})", f"{c['noise']:.0%}",
            ratio(c, kernel), ratio(c, daemon),
            f"{ratio(c, peer)} {peer} {variant}".strip() if peer else "-",
            ratio(c, kernel, "to_best_peer"), ratio(c, daemon, "to_best_daemon_peer"),
        ))
    return aligned(rows)


def write_csv(path, result):
    fields = ["filesystem", "mode", "application", "workload", "contender", "kind", "variant",
              "median_mib_s", "min_mib_s", "max_mib_s", "to_native", "noise", "to_best_peer",
              "best_peer", "to_best_daemon_peer", "best_daemon_peer", "past_daemon"]
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.DictWriter(f, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for c in result["cells"]:
            for name, r in c["rows"].items():
                row = c | r | {f"{k}_mib_s": f"{r[k] / MIB:.2f}" for k in ("median", "min", "max")}
                row["contender"] = name
                for key in ("to_native", "noise", "to_best_peer", "to_best_daemon_peer"):
                    if key in row:
                        row[key] = f"{row[key]:.4f}"
                if r["kind"] != "ours":
                    row["best_peer"] = row["best_daemon_peer"] = ""
                writer.writerow(row)


def write_aio_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["mode", "workload", "aio", "median_mib_s", "min_mib_s", "max_mib_s",
                         "to_threads", "noise"])
        for r in rows:
            for name, samples in r["samples"].items():
                numbers = r["medians"][name], min(samples), max(samples)
                writer.writerow([r["mode"], r["workload"], name,
                                 *(f"{n / MIB:.2f}" for n in numbers),
                                 f"{r['ratios'][name]:.4f}", f"{r['noise']:.4f}"])


def machine_text(m):
    return [
        f"- {m['cpu']}, {m['cpus']} CPUs, {m['memory_mib']} MiB of memory, "
        f"virtual machine: {m['virtual']}",
        f"- {m['system']}, Linux {m['kernel']}, {m['filesystem']} on {m['device']}",
        f"- {', '.join(m['tools'])}",
        f"- {m['date']}",
    ]


READING = """
The numbers below are throughputs as parts of native, ratios of medians of this run: the
contenders take turns round by round, each on an image of its own. Native is fio on the
host file with the flags of the mode; noise is how far a second native differs from the
first. The kernel does the I/O of cmfs by passthrough where the mode and the way of opening
allow it, in writethrough with `syncflag=on`; that is checked by counting what the daemon
moved. The daemon does it in the other cases, and with `passthrough=off`. Of
qemu-storage-daemon (`qsd`) each cell has the best of its settings. A daemon peer is one
that moves the data itself, as all but `passthrough_hp` do.
"""


AIO = """
Throughput as a part of that of `aio=threads`, ratios of medians of this run, in which the
ways take turns round by round, each on an image of its own. All requests go through the
daemon, from handles with O_DIRECT. In none and directsync they reach the disk; in
writethrough the writes do; the rest is between cmfs and the host's page cache, which holds
the whole image. Noise is how far a second `aio=threads` differs from the first.
"""


def cell_sections(result):
    """What the cells are about, if they were measured."""
    if not result["cells"]:
        return []
    lines = [READING.rstrip(), "", "![Throughput as a part of native](ratio.svg)", "",
             "## Goals", ""]
    lines += target_table(result["targets"])
    misses = [f"- {t['title']}: {m}" for t in result["targets"] for m in t["misses"]]
    if misses:
        lines += ["", "Missed by more than the noise:", ""] + misses
    if result["unexpected_paths"]:
        lines += ["", "Through the daemon, though the kernel's to serve:", ""]
        lines += [f"- {p}" for p in result["unexpected_paths"]]
    for filesystem in dict.fromkeys(c["filesystem"] for c in result["cells"]):
        lines += ["", f"## Throughput on {filesystem}", ""]
        lines += cell_table([c for c in result["cells"] if c["filesystem"] == filesystem])
    return lines


def write_markdown(path, result):
    lines = ["# Results", "", "Made by `" + result["command"] + "` in "
             f"{result['minutes']:.0f} minutes, {result['rounds']} rounds of "
             f"{result['seconds']} s, images of {result['image_mib']} MiB, on", ""]
    lines += machine_text(result["machine"]) + cell_sections(result)
    if result["memory"]:
        lines += ["", "## Memory", "", "![Peak memory of the daemons](memory.svg)", ""]
        lines += memory_table(result["memory"])
    if result["growth"]:
        lines += ["", "## Growth", "", "![What images, handles and size cost](growth.svg)", ""]
        lines += growth_table(result["growth"])
    if result.get("aio"):
        lines += ["", "## The ways of aio=", AIO] + aio_table(result["aio"])
    if result["left_out"]:
        lines += ["", "## Left out", ""]
        lines += [f"- {who} ({len(where)}: {where[0]}{', ...' if where[1:] else ''})"
                  for who, where in result["left_out"].items()]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines) + "\n")


def write(out, result):
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    if result["cells"]:
        write_csv(os.path.join(out, "results.csv"), result)
    if result.get("aio"):
        write_aio_csv(os.path.join(out, "aio.csv"), result["aio"])
    write_markdown(os.path.join(out, "README.md"), result)
