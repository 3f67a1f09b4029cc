"""Tables and the report file."""
import os
import pathlib
import platform
import re
import subprocess

import figures
import peers
import scenarios
from figures import COLUMNS

ROOT = peers.ROOT
TITLES = {peer.name: peer.title for peer in peers.ALL}


def brief(result, scenario):
    if "failed" in result:
        return "FAILED: " + result["failed"].replace("\n", " ")
    return ", ".join(f"{result[COLUMNS[c].key] * COLUMNS[c].scale:{COLUMNS[c].format}} {COLUMNS[c].title}" for c in scenario.columns)


def command(*args):
    try:
        done = subprocess.run(args, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def first(pattern, text):
    found = re.search(pattern, text)
    return found.group(1) if found else "?"


def npm_version(name):
    return first(r'"version": "([^"]+)"', (peers.PEERS / "node_modules" / name / "package.json").read_text())


def facts(note):
    """What a reader needs to know of the machine and the programs."""
    cpu = first(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(first(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())) // 1024
    dirty = " with changes" if command("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no") else ""
    mosquitto = first(r"mosquitto version (\S+)", command(peers.program("mosquitto"), "-h"))
    nginx = first(r"nginx/(\S+)", command(peers.program("nginx"), "-v"))
    nchan = first(r"(?:\d+:)?([^+-]+)", command("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"))
    return {
        "date": command("date", "-u", "+%Y-%m-%d %H:%M UTC"),
        "commit": command("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") + dirty,
        "machine": f"{os.cpu_count()} cores ({cpu}), {memory:,} MiB, Linux {platform.release()}, "
                   + first(r'PRETTY_NAME="([^"]+)"', pathlib.Path("/etc/os-release").read_text()),
        "load": f"{os.getloadavg()[1]:.1f} in the 5 minutes before",
        "programs": f"mosquitto {mosquitto}, nginx {nginx} with nchan {nchan}, Node {command('node', '--version')}, "
                    + ", ".join(f"{name} {npm_version(name)}" for name in ("ws", "mqtt", "socket.io")),
        "note": note,
    }


def rows(results, scenario):
    """The scenario's table: [[text]], the first row being the heading."""
    by_peer = results[scenario.name]
    columns = [COLUMNS[name] for name in scenario.columns]
    head = ["server"]
    for column in columns:
        head += [column.title, "±"] + (["of the floor's"] if column.ratio else [])
    table = [head]
    for peer in [name for name in scenario.peers if name in by_peer]:
        row = [TITLES[peer]]
        for column in columns:
            middle = figures.median(results, scenario.name, peer, column.key)
            if middle is None:
                row += ["failed", ""] + ([""] if column.ratio else [])
                continue
            row += [f"{middle * column.scale:{column.format}}", f"{figures.spread(results, scenario.name, peer, column.key) / 2:.0%}"]
            if column.ratio:
                part = figures.ratio(results, scenario.name, peer, column.key, "floor")
                row.append("" if part is None else f"{part:.2f}")
        table.append(row)
    return table


def target_rows(results):
    table = [["target", "bound", "reached", ""]]
    for target in figures.TARGETS:
        value, holds = target.judge(results)
        if value is None:
            continue

        def show(number):
            return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.4g}" if target.unit == "" else f"{number:.2f}{target.unit}"
        table.append([target.text, ("at least " if target.at_least else "at most ") + show(target.bound), show(value), "holds" if holds else "MISSED"])
    return table


def problems(results):
    return [f"{scenario}, {TITLES[peer]}: {why}" for scenario, by_peer in results.items() for peer in by_peer
            for why in figures.failures(results, scenario, peer)]


def aligned(table):
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths)))
                     for row in table)


def markdown(table):
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "|" + " --- |" * len(table[0]))
    return "\n".join(lines)


def text(results):
    """For the terminal."""
    parts = [f"\n{scenario.title}\n{aligned(rows(results, scenario))}" for scenario in scenarios.ALL if scenario.name in results]
    targets = target_rows(results)
    if len(targets) > 1:
        parts.append("\nTargets\n" + aligned(targets))
    parts += ["\nFailed\n" + "\n".join(problems(results))] if problems(results) else []
    return "\n".join(parts)
