# SPDX-License-Identifier: GPL-2.0-or-later
"""The results as pictures, by gnuplot, each as SVG and PNG.

ratio: throughput as a part of native, a panel for each mode and way of opening.
memory: peak memory of the daemons. growth: what images, handles and size cost.
"""

import os
import shutil
import subprocess
import sys

import targets
from cells import WORKLOADS

BLUE, ORANGE, GREY, DARK = "#1769aa", "#e07b00", "#8a8a8a", "#333333"
FARTHEST = 1.3  # ratios above are drawn here, with their number

PANELS = [
    ("writeback", "plain", "writeback"),
    ("none", "O_DIRECT", "none, opened with O_DIRECT"),
    ("none", "plain", "none, opened plainly"),
    ("writethrough", "plain", "writethrough (passthrough: syncflag=on)"),
    ("directsync", "O_DIRECT|O_DSYNC", "directsync, opened with O_DIRECT and O_DSYNC"),
    ("directsync", "plain", "directsync, opened plainly"),
]

TERMINALS = {
    "svg": "svg size {w},{h} dynamic font 'DejaVu Sans,{f}' background '#ffffff'",
    "png": "pngcairo size {w},{h} font 'DejaVu Sans,{f}' background '#ffffff'",
}


def draw(out, result):
    if not shutil.which("gnuplot"):
        print("# plots left out: gnuplot is not installed", file=sys.stderr)
        return
    panels = ratio_panels(result)
    if panels:
        render(out, "ratio", ratio_script(panels), 1500, 1010)
    if result["memory"]:
        render(out, "memory", memory_script(result["memory"]), 900,
               150 + 44 * len(memory_rows(result["memory"])))
    if result["growth"]:
        render(out, "growth", growth_script(result["growth"]), 1300, 760)


def render(out, name, script, width, height):
    for kind, terminal in TERMINALS.items():
        head = (f"set terminal {terminal.format(w=width, h=height, f=12)}\n"
                f"set output '{os.path.join(out, name)}.{kind}'\n"
                "set encoding utf8\nset border lc rgb '#666666'\nset termoption noenhanced\n")
        run = subprocess.run(["gnuplot"], input=head + script, text=True, capture_output=True,
                             check=False)
        if run.returncode:
            print(f"# plot {name}.{kind}: {run.stderr.strip()}", file=sys.stderr)


def block(name, lines):
    """Data for gnuplot: one row a line, words with blanks in quotes."""
    rows = [" ".join(f'"{v}"' if isinstance(v, str) else f"{v:.6g}" for v in line)
            for line in lines]
    return "\n".join([f"${name} << EOD", *rows, "EOD"]) + "\n"


# ---- throughput as a part of native

def series(cell):
    """Ratios to native of a cell: by the kernel, by the daemon, of the best peer."""
    names = *targets.served_by(cell), cell["best_daemon_peer"]
    return [cell["rows"][name]["to_native"] if name else None for name in names]


def ratio_panels(result):
    """Title and cells of each panel that the run has cells for."""
    own = result["machine"]["filesystem"]
    panels = []
    for mode, application, title in PANELS:
        chosen = [c for c in result["cells"] if c["filesystem"] == own and c["mode"] == mode
                  and c["application"] == application]
        if chosen:
            panels.append((title, chosen))
    return panels


def ratio_script(panels):
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    script = [
        f"set multiplot layout {lines},{columns} margins 0.125,0.985,0.065,0.855 "
        "spacing 0.135,0.1\n",
        *legend(),
        f"set xrange [0:{FARTHEST + 0.12}]\nset xtics 0,0.25,1.25 nomirror\nset ytics nomirror "
        "scale 0\nset grid xtics lc rgb '#e6e6e6' lt 1\nset border 1\nunset key\n"
        "set arrow 1 from 1, graph 0 to 1, graph 1 nohead lw 2 lc rgb '#333333' front\n",
    ]
    for number, (title, chosen) in enumerate(panels):
        beside = panels[number // columns * columns:][:columns]
        tall = max(len(row) for _, row in beside)
        script.append(ratio_panel(number, title, chosen, tall))
    return "".join(script) + "unset multiplot\n"


def legend():
    """Drawn once over all panels, in screen coordinates."""
    entries = [(0.045, 7, BLUE, "cmfs, kernel passthrough"), (0.24, 5, ORANGE,
               "cmfs, through its daemon"), (0.445, 9, GREY, "best FUSE peer with a daemon")]
    lines = ["set label 90 'Throughput relative to native: fio on the host file with the "
             "mode’s flags. Farther right is faster.' at screen 0.5,0.975 center "
             f"font ',15' tc rgb '{DARK}'\n"]
    for number, (x, mark, colour, text) in enumerate(entries):
        lines.append(f"set label {91 + number} '{text}' at screen {x},0.93 left point pt {mark} "
                     f"ps 1.6 lc rgb '{colour}' offset 1.2,0\n")
    lines.append("set object 90 rectangle from screen 0.683,0.922 to screen 0.703,0.938 "
                 "fc rgb '#d5dbe1' fs solid noborder\n")
    lines.append("set label 95 'noise: native against itself' at screen 0.71,0.93 left\n")
    lines.append("set label 96 '1.0 = native' at screen 0.92,0.93 left\n")
    return lines


def ratio_panel(number, title, chosen, tall):
    points, noise, far = [], [], []
    for y, cell in enumerate(chosen):
        values = series(cell)
        noise.append((1.0, -y, max(0.004, cell["noise"]), 0.36))
        for kind, value in enumerate(values):
            if value is None:
                continue
            points.append((min(value, FARTHEST), -y, kind))
            if value > FARTHEST:
                far.append((FARTHEST, -y, f"{value:.1f}"))
    ticks = ", ".join(f"'{WORKLOADS[c['workload']].label}' {-y}" for y, c in enumerate(chosen))
    script = block(f"p{number}", points) + block(f"n{number}", noise)
    script += block(f"f{number}", far or [(-9, -9, " ")])
    script += f"set title '{title}' font ',13' offset 0,-0.4\nset ytics ({ticks})\n"
    script += f"set yrange [{-tall + 0.4}:0.6]\nplot $n{number} using 1:2:3:4 with boxxyerror "
    script += "fc rgb '#d5dbe1' fs solid noborder, \\\n"
    # A line from zero, so that length speaks, and then the marks, the peer's below.
    script += (f"  $p{number} using (0):2:($3<2?$1:0/0):(0) with vectors nohead lw 1.2 "
               "lc rgb '#c9d3dc', \\\n")
    for kind, mark, colour in ((2, 9, GREY), (1, 5, ORANGE), (0, 7, BLUE)):
        script += (f"  $p{number} using ($3=={kind}?$1:0/0):2 with points pt {mark} ps 1.5 "
                   f"lc rgb '{colour}', \\\n")
    script += (f"  $f{number} using 1:2:3 with labels left offset 0.8,0 font ',10'\n")
    if number == 0:
        script += "".join(f"unset label {n}\n" for n in (90, 91, 92, 93, 95, 96))
        script += "unset object 90\n"
    return script


# ---- memory

def memory_rows(memory):
    """Each contender once, with the smallest of its variants."""
    rows = {}
    for m in memory:
        have = rows.get(m["contender"])
        if have is None or m["qd32_1m_kib"] < have["qd32_1m_kib"]:
            rows[m["contender"]] = m
    return list(rows.values())


def memory_script(memory):
    rows = memory_rows(memory)
    lines, ticks = [], []
    for y, m in enumerate(rows):
        for at, key in enumerate(("idle_kib", "qd32_4k_kib", "qd32_1m_kib")):
            lines.append((m[key] / 1024, -y + 0.26 - 0.26 * at, at, f"{m[key] / 1024:.1f}"))
        ticks.append(f"'{m['contender']}' {-y}")
    top = max(line[0] for line in lines)
    script = block("m", lines)
    script += (f"set title 'Peak memory of the daemon (RSS, MiB)' font ',15'\n"
               f"set xrange [0:{top * 1.15}]\nset yrange [{-len(rows) + 0.45}:0.6]\n"
               f"set ytics ({', '.join(ticks)}) nomirror scale 0\nset xtics nomirror\n"
               "set border 1\nset grid xtics lc rgb '#e6e6e6' lt 1\n"
               "set key outside bottom center horizontal\nset style fill solid noborder\nplot ")
    styles = (("idle", "#b8c4cf"), ("depth 32, 4 KiB", "#6ea3cc"), ("depth 32, 1 MiB", BLUE))
    parts = [f"$m using ($3=={n}?$1/2:0/0):2:($1/2):(0.11) with boxxyerror lc rgb '{colour}' "
             f"title '{text}'" for n, (text, colour) in enumerate(styles)]
    parts.append("$m using 1:2:4 with labels left offset 0.5,0 font ',10' notitle")
    return script + ", \\\n".join(parts) + "\n"


# ---- growth

GROWTH_ROWS = [
    ("latency_us", "latency of a 4 KiB read, µs", 1, ("native", "cmfs", "cmfs-daemon")),
    ("rss_kib", "memory of the daemon (RSS), MiB", 1024, ("cmfs", "cmfs-daemon")),
]
GROWTH_COLUMNS = [("images", "images in one mount"), ("handles", "open handles of one image"),
                  ("sizes", "size of the image")]
LOOKS = {"native": (DARK, 13), "cmfs": (BLUE, 7), "cmfs-daemon": (ORANGE, 5)}


def growth_script(growth):
    script = ["set multiplot layout 2,3 margins 0.06,0.985,0.09,0.83 spacing 0.055,0.14\n"
              "set label 90 'What more images, more handles and larger images cost' at screen "
              "0.5,0.97 center font ',15'\nset logscale x\nset grid lc rgb '#e6e6e6' lt 1\n"
              "set border 3\nset xtics nomirror\nset ytics nomirror\nunset key\n"]
    for number, (name, (colour, mark)) in enumerate(LOOKS.items()):
        script.append(f"set label {91 + number} '{name}' at screen {0.36 + 0.11 * number},0.925 "
                      f"left point pt {mark} ps 1.4 lc rgb '{colour}' offset 1.2,0\n")
    for key, title, unit, names in GROWTH_ROWS:
        top = max(p[n][key] / unit for k, _ in GROWTH_COLUMNS for p in growth[k] for n in names)
        for kind, label in GROWTH_COLUMNS:
            script.append(growth_panel(growth[kind], kind, label, key, title, unit, names, top))
            script += [f"unset label {n}\n" for n in range(90, 91 + len(LOOKS))]
    return "".join(script) + "unset multiplot\n"


def growth_panel(points, kind, label, key, title, unit, names, top):
    field = "size" if kind == "sizes" else kind
    block_name = f"{kind}_{key}"
    script = block(block_name, [[p[field], *(p[n][key] / unit for n in names)] for p in points])
    if kind == "sizes":
        ticks = "set xtics ('1M' 2**20, '32M' 2**25, '1G' 2**30, '32G' 2**35, '1T' 2**40, " \
                "'8T' 2**43)\n"
    else:
        ticks = "set xtics (1, 10, 100, 1000)\n"
    first, last = points[0][field], points[-1][field]
    script += (ticks + f"set xrange [{first / 1.5}:{last * 1.5}]\nset yrange [0:{top * 1.1}]\n"
               f"set xlabel '{label}' offset 0,0.4\nset title '{title}' font ',12'\n"
               "plot ")
    return script + ", \\\n".join(
        f"${block_name} using 1:{i + 2} with linespoints lw 2 pt {LOOKS[n][1]} ps 1.2 "
        f"lc rgb '{LOOKS[n][0]}' title '{n}'" for i, n in enumerate(names)) + "\n"
