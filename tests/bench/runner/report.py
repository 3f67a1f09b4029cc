"""Tables and the report file."""
import os
import pathlib
import platform
import re
import subprocess

import figures
import peers
import scenarios
import svg
from figures import COLUMNS

ROOT = peers.ROOT
TITLES = {peer.name: peer.title for peer in peers.ALL}


def brief(result, scenario):
    if "failed" in result:
        return "FAILED: " + result["failed"].replace("\n", " ")
    return ", ".join(f"{result[COLUMNS[c].key] * COLUMNS[c].scale:{COLUMNS[c].format}} {COLUMNS[c].title}" for c in scenario.columns
                     if COLUMNS[c].key in result)


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
    path = peers.PEERS / "node_modules" / name / "package.json"
    return first(r'"version": "([^"]+)"', path.read_text()) if path.exists() else "not installed"


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
        "kernel": "TCP congestion control " + pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "priority": "the generator's is raised" if os.geteuid() == 0 else "the generator's could not be raised: not root",
        "load": f"{os.getloadavg()[1]:.1f} in the 5 minutes before",
        "programs": f"mosquitto {mosquitto}, nginx {nginx} with nchan {nchan}, Node {command('node', '--version')}, "
                    + ", ".join(f"{name} {npm_version(name)}" for name in ("ws", "mqtt", "socket.io")),
        "note": note,
    }


def rows(results, scenario):
    """The scenario's table: [[text]], the first row being the heading."""
    by_peer = results[scenario.name]
    columns = [COLUMNS[name] for name in scenario.columns]
    rounds = max(len(runs) for runs in by_peer.values())
    head = ["server"]
    for column in columns:
        head += [column.title, "±"] + ([f"of the {scenario.base}'s"] if column.ratio else [])
    table = [head]
    for peer in [name for name in scenario.peers if name in by_peer]:
        row = [TITLES[peer]]
        for column in columns:
            middle = figures.median(results, scenario.name, peer, column.key)
            if middle is None:
                row += ["failed" if figures.failures(results, scenario.name, peer) else "", ""] + ([""] if column.ratio else [])
                continue
            around = f"{figures.spread(results, scenario.name, peer, column.key) / 2:.0%}" if rounds > 1 else ""
            row += [f"{middle * column.scale:{column.format}}", around]
            if column.ratio:
                part = figures.ratio(results, scenario.name, peer, column.key, scenario.base)
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


def plots(results):
    """{file's name: svg}"""
    def row(peer, pairs):
        return TITLES[peer], [(lambda v: v and v * COLUMNS[c].scale)(figures.median(results, s, peer, COLUMNS[c].key)) for s, c in pairs]

    def dots(title, names, pairs, peers_shown):
        return svg.dots(title, [row(peer, pairs) for peer in peers_shown if any(peer in results.get(s, {}) for s, _ in pairs)], names)

    def curves(family, title, x_title):
        points = [scenario for scenario in scenarios.ALL if scenario.grow and scenario.grow[0] == family]
        found = {TITLES[peer]: [(scenario.grow[1], value) for scenario in points
                                if (value := figures.median(results, scenario.name, peer, "cpu_us"))] for peer in scenarios.WS}
        return svg.curves(title, x_title, found)

    every = scenarios.EVERY
    return {
        "cpu": dots("Server CPU per delivery, µs (less is better)", ["evenly spaced", "in bursts", "20 messages/s"],
                    [("spaced", "cpu"), ("bursts", "cpu"), ("rate20", "cpu")], every),
        "latency": dots("20 messages/s to 1,000 clients: ms from publish to receipt", ["p50", "p99"], [("rate20", "p50"), ("rate20", "p99")], every),
        "memory": dots("Bytes of the server's memory for each of 9,000 idle connections", ["bytes"], [("idle", "memory")],
                       [peer for peer in every if peer not in ("floor", "joined")]),
        "clients": curves("clients", "Server CPU per delivery, µs, one channel", "clients"),
        "channels": curves("channels", "Server CPU per delivery, µs, 10,000 clients", "channels"),
    }


def write(path, facts_, results):
    """The report, and its plots beside it."""
    path = path if path.is_absolute() else ROOT / path
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {}
    for name, image in plots(results).items():
        if image:
            (path.parent / f"{path.stem}-{name}.svg").write_text(image)
            images[name] = f"![{name}]({path.stem}-{name}.svg)"
    rounds = max(len(runs) for by_peer in results.values() for runs in by_peer.values())
    parts = [(ROOT / "tests/bench/runner/report.md").read_text().rstrip().format(rounds=rounds, took=facts_["took"]),
             "\n".join(f"- {key}: {facts_[key]}" for key in ("date", "commit", "machine", "kernel", "priority", "load", "programs", "note") if facts_.get(key))]
    missed = [row for row in target_rows(results)[1:] if row[3] == "MISSED"]
    parts += ["## Targets", f"{len(target_rows(results)) - 1 - len(missed)} hold, {len(missed)} are missed. Ratios are medians of the ratios within each round.",
              markdown(target_rows(results))]
    shown = {"spaced": ["cpu"], "rate20": ["latency"], "idle": ["memory"], "clients-10": ["clients"], "channels-1": ["channels"]}
    for scenario in scenarios.ALL:
        if scenario.name in results:
            parts += [f"## {scenario.title}", scenario.note, *(images[name] for name in shown.get(scenario.name, []) if name in images),
                      markdown(rows(results, scenario))]
    if problems(results):
        parts += ["## Failed", "\n".join(f"- {line}" for line in problems(results))]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
