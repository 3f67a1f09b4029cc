#!/usr/bin/env python3
"""The guard of the fast path: counts the instructions of a delivery with callgrind and compares them with budget.txt.

guard.py [--update] DRIVER      exit status 1 if a budget is exceeded by more than the tolerance

No clock is involved, so a busy machine does not matter. Each figure is the difference of two runs of which one has twice as many
messages, so that starting, connecting and first allocations cancel out. What the kernel does is not counted: of that only the
number of system calls could show, and those have their wrappers.
"""
import argparse
import concurrent.futures
import os
import pathlib
import platform
import re
import subprocess
import sys

BUDGET = pathlib.Path(__file__).with_name("budget.txt")
DELIVERIES = 3000  # of the shorter run, at least


def run(driver, transport, clients, channels, batch, rounds):
    """(instructions, deliveries)"""
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=guard_turn", "--toggle-collect=guard_request",
         driver, transport, clients, channels, batch, str(rounds)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"guard: {transport}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return int(found.group(1)), int(done.stdout)


def measure(driver, entry):
    """Instructions for each delivery."""
    transport, clients, channels, batch = entry
    rounds = max(4, DELIVERIES * int(channels) // (int(batch) * int(clients)))
    (less, few), (more, many) = (run(driver, transport, clients, channels, batch, n) for n in (rounds, 2 * rounds))
    return (more - less) / (many - few)


def compiler():
    done = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True)
    return f"gcc {done.stdout.strip()} on {platform.machine()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--update", action="store_true", help="write what is measured as the new budget")
    parser.add_argument("driver", help="build/release/tests/bench/guard_driver")
    args = parser.parse_args()
    text = BUDGET.read_text()
    tolerance = int(re.search(r"^tolerance (\d+)%$", text, re.M).group(1)) / 100
    entries = re.findall(r"^(\S+) (ws|raw|sse|poll) (\d+) (\d+) (\d+) (\d+)$", text, re.M)
    if not entries:
        sys.exit(f"guard: {BUDGET} holds no budget")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = list(pool.map(lambda entry: measure(args.driver, entry[1:5]), entries))
    exceeded = False
    for (name, *shape, budget), count in zip(entries, counts):
        change = count / int(budget) - 1
        over = change > tolerance and not args.update
        exceeded = exceeded or over
        verdict = "TOO MANY" if over else "less: guard.py --update would keep it" if change < -tolerance else ""
        print(f"{name:16} {count:8.0f} instructions a delivery, budget {budget} ({change:+.1%}) {verdict}".rstrip())
        if args.update:
            text = text.replace(" ".join([name, *shape, budget]), " ".join([name, *shape, f"{count:.0f}"]))
    if args.update:
        BUDGET.write_text(re.sub(r"^# Recorded with .*$", f"# Recorded with {compiler()}.", text, flags=re.M))
        return 0
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
