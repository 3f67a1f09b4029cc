#!/usr/bin/env python3
"""How long a chart takes: 10 million points rolled up on disk, and a million messages in memory; 800 windows each.

Usage: SLUICE_BINARY=build/release/sluice python3 tests/bench/charts.py [--points 10000000] [--messages 1000000]
The rollups are written into the database directly, as the gateway would have done in 116 days of one sample a second; every answer is
checked against the samples. docs/benchmarks/charts.md has the figures.
"""
import argparse
import math
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import harness  # noqa: E402

STEPS = {10_000: 7 * 86400_000, 300_000: 90 * 86400_000, 3600_000: 1825 * 86400_000}
CONFIG = """broker: {{ url: "mqtt://127.0.0.1:{port}" }}
listen: [{{ address: "127.0.0.1:0" }}]
workers: 2
storage: {{ path: {path} }}
limits: {{ history: 2048MiB }}
routes:
  - topic: long/{{name}}
    history: {{ store: disk, rollup: {{ fields: /t, every: [10s, 5m, 1h], keep: [7d, 90d, 1825d] }} }}
  - topic: raw/{{name}}
    history: {{ count: 1000000, bytes: 1024MiB, age: 0s }}
"""


def sample(i):
    return 9999.0 if i % 1_234_567 == 0 else 20 + 5 * math.sin(i / 7000) + (i * 7919 % 1000) / 1000


def roll_up(points, end):
    """Rows of each step; the last sample is at `end` (seconds)."""
    windows = {}
    for i in range(points):
        ts, value = (end - points + i) * 1000, sample(i)
        for every, keep in STEPS.items():
            if ts < end * 1000 - keep:
                continue
            key = (every, ts - ts % every)
            row = windows.get(key)
            if row is None:
                windows[key] = [value, value, value, value, i + 1, 1]
            else:
                row[0], row[1] = min(row[0], value), max(row[1], value)
                row[2] += value
                row[3:] = [value, i + 1, row[5] + 1]
    return windows


def fill(path, points):
    end = int(time.time())
    windows = roll_up(points, end)
    with sqlite3.connect(path) as database:
        series, = database.execute("SELECT id FROM series").fetchone()
        database.execute("DELETE FROM rollup")
        database.execute("DELETE FROM gap")
        database.execute("UPDATE series SET since=0")
        database.executemany("INSERT INTO rollup VALUES(?,?,?,?,?,?,?,?,?,0)",
                             ((series, every, t, *row[:4], row[4], row[5]) for (every, t), row in sorted(windows.items())))
    database.close()
    return end, len(windows)


def ask(gateway, channel, times=30, **params):
    session, took = requests.Session(), []
    for _ in range(times):
        begun = time.perf_counter()
        answer = session.get(f"{gateway.http}/channels/{channel}/series", params=params, timeout=60)
        took.append((time.perf_counter() - begun) * 1000)
        assert answer.status_code == 200, answer.text
    return answer.json(), took


def settled(gateway):
    """The broker may drop some at QoS 0: until no more come."""
    seen = []

    def same():
        seen.append(gateway.metric("sluice_mqtt_messages_total"))
        return seen[-1] > 1 and len(seen) > 50 and seen[-1] == seen[-50]
    harness.wait_until(same, 120)


def tell(what, body, took):
    print(f"| {what} | {len(body['t'])} of {body['step'] / 1000:g} s | {sum(body['count']):,} | {statistics.median(took):.1f} | {max(took):.1f} | "
          f"{statistics.median(took[len(took) // 2:]):.1f} |", flush=True)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--points", type=int, default=10_000_000)
    options.add_argument("--messages", type=int, default=1_000_000)
    options = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        broker = harness.Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
        text = CONFIG.format(port=broker.port, path=directory / "charts.db")
        gateway = harness.Sluice(directory, text)
        try:
            client = harness.Mqtt(broker.port)
            client.publish("long/a", '{"t": 1}')
            harness.wait_until(lambda: gateway.metric("sluice_storage_series") == 1)
            gateway.stop()
            end, rows = fill(directory / "charts.db", options.points)
            print(f"{options.points:,} points are {rows:,} windows, {(directory / 'charts.db').stat().st_size / 1e6:.0f} MB")
            gateway = harness.Sluice(directory, text)
            print("| asked | windows | samples | median ms | worst ms | later ms |\n| --- | --- | --- | --- | --- | --- |")
            first = (end - options.points) * 1000
            body, took = ask(gateway, "long/a", field="/t", points=800, **{"from": str(first)})
            assert sum(body["count"]) == options.points and max(body["max"]) == 9999 and len(body["t"]) <= 801
            tell("all of it", body, took)
            for span in ("90d", "30d", "7d", "1d"):
                body, took = ask(gateway, "long/a", field="/t", points=800, **{"from": "-" + span})
                tell(span, body, took)
            subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-t", "raw/a", "-l"], text=True, check=True,
                           input="".join(f'{{"name":"a","t":{sample(i):.3f},"state":"ON"}}\n' for i in range(options.messages)))
            settled(gateway)
            body, took = ask(gateway, "raw/a", 10, field="/t", points=800)
            tell("what is in memory", body, took)
            client.close()
        finally:
            gateway.end()
            broker.end()


if __name__ == "__main__":
    main()
