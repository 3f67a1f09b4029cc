"""The report of a run: Markdown, JSON and a picture of memory and descriptors over time.

As a program, `report.py build/soak`, it puts the report of that directory into docs/soak.md.
"""
import json
import pathlib
import platform
import shutil
import subprocess
import sys

from watch import FDS_GROWTH, FDS_TOTAL, MIB, RSS_GROWTH, RSS_TOTAL

COLOURS = ("#1f6feb", "#d1570a")


def polyline(points, colour):
    text = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.2" points="{text}"/>'


def panel(out, top, height, title, watches, column, unit, seconds):
    """One diagram; a new process of a gateway begins a new line."""
    left, width = 60, 820
    highest = max((s[column] / unit for w in watches for s in w.samples), default=1) * 1.1 or 1
    out.append(f'<text x="{left}" y="{top - 6}">{title}</text>')
    for i in range(5):
        y = top + height - height * i / 4
        out.append(f'<line x1="{left}" x2="{left + width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{highest * i / 4:.0f}</text>')
    for i in range(7):
        x, anchor = left + width * i / 6, "end" if i == 6 else "middle"
        out.append(f'<text x="{x:.1f}" y="{top + height + 14}" text-anchor="{anchor}">'
                   f'{seconds * i / 360:.1f} min</text>')
    for watch, colour in zip(watches, COLOURS):
        lives = {}
        for s in watch.samples:
            lives.setdefault(s[1], []).append((left + width * s[0] / seconds, top + height - height * s[column] / unit / highest))
        for points in lives.values():
            step = max(1, len(points) // 1200)
            out.append(polyline(points[::step], colour))


def svg(watches, seconds):
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 470" font-family="sans-serif" font-size="11" fill="#333">',
           '<rect width="900" height="470" fill="#fff"/>']
    panel(out, 30, 170, "resident memory, MiB", watches, 2, MIB, seconds)
    panel(out, 255, 170, "descriptors", watches, 3, 1, seconds)
    for at, (watch, colour) in enumerate(zip(watches, COLOURS)):
        out.append(f'<rect x="{60 + 120 * at}" y="450" width="10" height="10" fill="{colour}"/>'
                   f'<text x="{75 + 120 * at}" y="459">{watch.gateway.name}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def answers(name, counts):
    """An entry of a list in a line for each kind: publishes, requests, commands that are to be confirmed."""
    def said(kind):
        return ", ".join(f"{what} {count}" for what, count in sorted(counts.items()) if (what.split(": ")[0] if ": " in what else "") == kind)
    return [f"- {name}: {said('')}", *(f"  {said(kind)}" for kind in ("request", "command") if said(kind))]


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return (done.stdout or done.stderr).splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return "?"


def markdown(result, picture):
    verdict = "**No finding.**" if not result["findings"] else f"**{sum(result['finding_counts'].values())} findings.**"
    out = [f"{verdict} {result['minutes']:.1f} minutes, seed {result['seed']}, {result['rounds']} rounds, "
           f"{sum(result['faults'].values())} faults; {result['version']}, mosquitto, Linux {platform.release()}, "
           f"begun {result['begun']}.", "",
           f"Published {result['published']['published']} messages, of which the broker acknowledged "
           f"{result['published']['acknowledged']}. The clients got {sum(c.get('messages', 0) for c in result['clients'].values())}.", ""]
    out += ["Faults:", "", table(("fault", "times"), sorted(result["faults"].items())), ""]
    if result["line"]:
        out += [f"The lossy line carried {result['line']['carried']} packets and lost {result['line']['lost']}.", ""]
    else:
        out += [f"No lossy line: {result['no_line']}. The faults of the line were left out, and its clients went without it.", ""]
    columns = ("messages", "connections", "covered by gaps", "missed by the gateway")
    rows = [[name, *(counts.get(c, 0) for c in columns), sum(v for k, v in counts.items() if k.startswith("gaps ")),
             counts.get("new epochs", 0),
             ", ".join(f"{k} {v}" for k, v in sorted(counts.items()) if k.startswith(("close", "status", "passed", "came")))]
            for name, counts in sorted(result["clients"].items())]
    out += ["Clients:", "", table(("client", *columns, "gaps told", "new epochs", "notes"), rows), "",
            "*covered by gaps*: messages that the gateway had and the client did not get, but was told of.\n*missed by the "
            "gateway*: the gateway was away from the broker, or the broker itself lost them; nobody could have them.", ""]
    if result.get("upward"):
        out += ["Publishes and requests through the gateways (over POST and `/ws`), by their answers, and how many publishes that were answered "
                "with `published` arrived at a subscriber of the broker:", "",
                *(line for name, counts in result["upward"].items() for line in answers(name, counts)), ""]
    out += ["Gateways:", "", table(("gateway", "processes", "largest memory, MiB", "most descriptors",
                                    "growth of memory, KiB", "growth of descriptors"),
            [(g["name"], g["lives"], f"{g['rss'] / MIB:.1f}", g["fds"], "-" if g["growth"] is None else g["growth"][0] // 1024,
              "-" if g["growth"] is None else g["growth"][1]) for g in result["gateways"]]), "",
            f"Bounds: {RSS_TOTAL // MIB} MiB and {FDS_TOTAL} descriptors at any time; {RSS_GROWTH // 1024} KiB and {FDS_GROWTH} "
            "descriptors more at the end than after the first third, by medians of calm moments of the longest life.", "",
            f"![memory and descriptors over time]({picture})", ""]
    if result["findings"]:
        out += ["Findings:", ""]
        for at, kind, text in result["findings"][:200]:
            out += [f"- {kind}: `{text[:2000]}`"]
        out.append("")
    return "\n".join(out)


def write(directory, result, watches):
    (directory / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (directory / "report.svg").write_text(svg(watches, max(1, result["minutes"] * 60)))
    (directory / "report.md").write_text("# Soak report\n\n" + markdown(result, "report.svg"))


def into_docs(directory):
    """Everything behind the last heading of docs/soak.md is the report."""
    docs = pathlib.Path(__file__).resolve().parents[2] / "docs"
    page, mark = docs / "soak.md", "## Report of a long run\n"
    head = page.read_text().split(mark)[0]
    shutil.copy(directory / "report.svg", docs / "images/soak.svg")
    result = json.loads((directory / "report.json").read_text())
    page.write_text(head + mark + markdown(result, "images/soak.svg").rstrip() + "\n")


if __name__ == "__main__":
    into_docs(pathlib.Path(sys.argv[1]))
