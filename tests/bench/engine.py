#!/usr/bin/env python3
"""What an engine that gateways share costs: one gateway without, and one with Valkey or Redis, in turn, under the same load.

  engine.py [--clients 50 500] [--rounds 5] [--deliveries 400000]   CPU of the gateway for each delivery, and latency at 1,000 messages a second
  engine.py --load MESSAGES [--channels 10000]                      a gateway that starts with so many messages in the engine: time until it is ready

CPU is the gateway's own, not the engine's. Rounds are in turn, so that what else the machine does strikes both; look at the ratio.
Needs `cmake --build --preset release --target bench`. ENGINE_SERVER names the server's binary.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADGEN = ROOT / "build/release/tests/bench/loadgen"
sys.path.insert(0, str(ROOT / "tests/support"))
import cluster  # noqa: E402
import harness  # noqa: E402

YAML = """
broker: {{ url: mqtt://127.0.0.1:{broker}, client_id: cluster, session_expiry: 1h }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: 1
routes:
  - {{ topic: "bench/#", qos: 1, history: {{ count: 100 }} }}
  - {{ topic: bench, qos: 1, history: {{ count: 100 }} }}
limits: {{ history: 4GiB }}
{engine}
"""
ENGINE = """
engine:
  valkey: {{ url: "redis://127.0.0.1:{redis}" }}
  prefix: test
  node: one
"""


class Gateway(harness.Sluice):
    patience = 300


def start(directory, broker, redis, name):
    engine = ENGINE.format(redis=redis.port) if redis else ""
    return Gateway(directory, YAML.format(broker=broker.port, engine=engine), name)


def loadgen(sluice, broker, clients, messages, **more):
    options = {"protocol": "sluice-ws", "path": "/ws", "port": sluice.port, "publish_port": broker.port, "server": sluice.child.pid,
               "clients": clients, "messages": messages, "seconds": 300, "qos": 1, **more}
    done = subprocess.run([LOADGEN, *(f"{key}={value}" for key, value in options.items())], stdout=subprocess.PIPE, text=True, timeout=600,
                          check=True)
    result = json.loads(done.stdout)
    assert not result["lost"] + result["doubled"] + result["disordered"], result
    return result


def one(kind, clients, **load):
    """A gateway of its own, and an empty broker and engine."""
    with tempfile.TemporaryDirectory() as directory:
        broker = harness.Broker(directory, config=cluster.BROKER)
        redis = cluster.Redis(pathlib.Path(directory) / "redis") if kind == "engine" else None
        sluice = None
        try:
            if redis:
                redis.ask("SET", "{test}:epoch", "tested")
            sluice = start(directory, broker, redis, kind)
            result = loadgen(sluice, broker, clients, **load)
            sluice.stop()
            return result
        finally:
            for process in (sluice, redis, broker):
                if process:
                    process.end()


LOADS = {
    "full": {"window": 2000, "burst": 16},
    "1,000 messages/s": {"window": 2000, "burst": 1, "interval_us": 1000},
}


def cost(args):
    """In turn, and each pair of rounds compared with itself."""
    for clients in args.clients:
        for load, options in LOADS.items():
            messages = args.deliveries // clients if load == "full" else 3000
            pairs = []
            for _ in range(args.rounds):
                pairs.append([one(kind, clients, messages=messages, **options) for kind in ("alone", "engine")])
                print(f"{clients} clients, {load}:", *(f"{one['cpu_us']:.3f} us, p50 {one['p50_us']:.0f} us" for one in pairs[-1]), sep="  ", flush=True)
            ratios = sorted(engine["cpu_us"] / alone["cpu_us"] for alone, engine in pairs)
            more = sorted(engine["p50_us"] - alone["p50_us"] for alone, engine in pairs)
            print(f"| {clients} | {load} | {statistics.median(alone['cpu_us'] for alone, _ in pairs):.3f} | "
                  f"{statistics.median(engine['cpu_us'] for _, engine in pairs):.3f} | {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | "
                  f"{statistics.median(more):+.0f} us ({more[0]:+.0f} to {more[-1]:+.0f}) |", flush=True)


def fill(redis, messages, channels):
    """Puts messages there as a gateway does, by its own script and in its words; a million of them by MQTT would take minutes."""
    source = (ROOT / "gateway/engine/valkey_scripts.c").read_text()
    text = source.split("gw_script_append[] =", 1)[1].split(";\n\n", 1)[0]
    script = "".join(json.loads(line.strip()) for line in text.strip().splitlines())
    sha = redis.ask("SCRIPT", "LOAD", script)
    keys = ["{test}:log", "{test}:channels", "{test}:meta", "{test}:h:", "100000", "100000", ""]
    payload = json.dumps({"temperature": 21.5, "humidity": 40, "text": "x" * 160})
    feed = subprocess.Popen(["redis-cli", "-p", str(redis.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    sequence, stamp, keep = int(time.time() - 60) << 21, int(time.time() * 1000), max(messages // channels, 1)
    for at in range(0, messages, 100):
        words = ["EVALSHA", sha, "3", *keys]
        for i in range(at, min(at + 100, messages)):
            entry = ["c", f"bench/{i % channels}", "h", f"{stamp:x} 20 {keep:x} {i % 65535 + 1:x} {i:x} 0 0", "d", payload]
            words += [f"1-{sequence + i}", str(keep), str(len(entry)), *entry]
        feed.stdin.write("".join([f"*{len(words)}\r\n"] + [f"${len(word)}\r\n{word}\r\n" for word in words]).encode())
    feed.stdin.close()
    assert feed.wait(600) == 0


def load(args):
    with tempfile.TemporaryDirectory() as directory:
        broker = harness.Broker(directory, config=cluster.BROKER)
        redis = cluster.Redis(pathlib.Path(directory) / "redis")
        sluice = None
        try:
            redis.ask("SET", "{test}:epoch", "tested")
            fill(redis, args.load, args.channels)
            memory = int(redis.ask("INFO", "memory").split("used_memory:")[1].split()[0])
            print(f"{args.load} messages of 200 bytes on {args.channels} channels: {memory / args.load:.0f} bytes each in the engine")
            for _ in range(args.rounds):
                begun = time.monotonic()
                sluice = start(directory, broker, redis, "loaded")
                # The newest of each channel must be there, and as many as its history holds.
                seconds, cpu, rss = time.monotonic() - begun, sluice.cpu(), sluice.rss()
                history = sluice.get(f"/channels/bench/{args.channels - 1}/history?limit=1000").json()["messages"]
                assert len(history) == min(args.load // args.channels, 100), len(history)
                print(f"ready after {seconds:.2f} s, {cpu:.2f} s of CPU, {rss / 1e6:.0f} MB, {sluice.metric('sluice_engine_log_entries'):.0f} "
                      "entries of the log in memory", flush=True)
                sluice.stop()
        finally:
            for process in (sluice, redis, broker):
                if process:
                    process.end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, nargs="+", default=[50, 500])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deliveries", type=int, default=400000)
    parser.add_argument("--load", type=int)
    parser.add_argument("--channels", type=int, default=10000)
    args = parser.parse_args()
    load(args) if args.load else cost(args)


if __name__ == "__main__":
    main()
