#!/usr/bin/env python3
"""The guard of the fast path: counts the instructions of a delivery with callgrind, and its system calls, and compares them with
budget.txt.

guard.py [--update] DRIVER      exit status 1 if a budget is exceeded by more than the tolerance

It also holds the bytes of a channel against a budget, as the program `slices` beside the driver counts them.
No clock is involved, so a busy machine does not matter. What the kernel does is no instruction of ours, and most
of the cost: that is why its calls have a budget too.
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
DELIVERIES = 2000  # counted, at least


def measure(driver, entry):
    """Instructions and system calls for each delivery."""
    transport, clients, channels, batch, others = entry
    rounds = max(4, DELIVERIES * int(channels) // (int(batch) * int(clients))) if int(clients) else max(40, 2 * int(channels) // int(batch))
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=guard_turn", "--toggle-collect=guard_request",
         driver, transport, clients, channels, batch, others, str(rounds)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"guard: {transport}: exit status {done.returncode}\n{done.stderr[-2000:]}")
    deliveries, calls = map(int, done.stdout.split())
    return int(found.group(1)) / deliveries, calls / deliveries


def channel_bytes(driver, channels):
    """Bytes that malloc gave for each of so many channels with one message."""
    done = subprocess.run([pathlib.Path(driver).with_name("slices"), channels], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    found = re.search(r": (\d+) bytes each", done.stdout)
    if done.returncode or not found:
        sys.exit(f"guard: slices: exit status {done.returncode}\n{done.stderr[-2000:]}")
    return int(found.group(1))


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
    entries = re.findall(r"^(\S+) (ws|raw|sse|poll|socketio|socketio-poll|mqtt|mqtt-qos1|ws-resume|mqtt-resume|mqtt-resume-qos1|none|windows) (\d+) (\d+) (\d+) (\d+) (\d+) ([\d.]+)$", text, re.M)
    if not entries:
        sys.exit(f"guard: {BUDGET} holds no budget")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        measured = list(pool.map(lambda entry: measure(args.driver, entry[1:6]), entries))
    exceeded = False
    for (name, *shape, budget, calls_budget), (count, calls) in zip(entries, measured):
        change, calls_change = count / int(budget) - 1, calls / float(calls_budget) - 1 if float(calls_budget) else calls
        over = max(change, calls_change) > tolerance and not args.update
        exceeded = exceeded or over
        verdict = "TOO MANY" if over else "less: guard.py --update would keep it" if min(change, calls_change) < -tolerance else ""
        print(f"{name:16} {count:8.0f} instructions a delivery ({change:+.1%} of the budget), {calls:.3f} system calls ({calls_change:+.1%}) "
              f"{verdict}".rstrip())
        if args.update:
            text = text.replace(" ".join([name, *shape, budget, calls_budget]), " ".join([name, *shape, f"{count:.0f}", f"{calls:.3f}"]))
    for channels, budget in re.findall(r"^channel-bytes (\d+) (\d+)$", text, re.M):
        size = channel_bytes(args.driver, channels)
        over = size / int(budget) - 1 > tolerance and not args.update
        exceeded = exceeded or over
        print(f"channel-bytes    {size:8d} bytes a channel with one message ({size / int(budget) - 1:+.1%} of the budget){' TOO MANY' if over else ''}")
        text = text.replace(f"channel-bytes {channels} {budget}", f"channel-bytes {channels} {size if args.update else budget}")
    if args.update:
        BUDGET.write_text(re.sub(r"^# Recorded with .*$", f"# Recorded with {compiler()}.", text, flags=re.M))
        return 0
    return 1 if exceeded else 0


if __name__ == "__main__":
    sys.exit(main())
