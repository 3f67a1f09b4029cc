#!/usr/bin/env python3
"""What history on disk costs: CPU of the gateway for each delivery, `store: memory` and `store: disk` in turn.

Every message is written: the history is longer than the run.

  durable.py CLIENTS MESSAGES [ROUNDS]      with the load generator, `cmake --build --preset release --target bench`
  durable.py 0 MESSAGES [ROUNDS]            no clients, 500 channels in turn: CPU for each message
"""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOADGEN = ROOT / "build/release/tests/bench/loadgen"
sys.path.insert(0, str(ROOT / "tests/support"))
import harness  # noqa: E402


def writer(sluice):
    """CPU seconds of the thread that writes."""
    for task in pathlib.Path(f"/proc/{sluice.child.pid}/task").iterdir():
        name, fields = (task / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
        if name == "history":
            return sum(int(field) for field in fields.split()[11:13]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def publish(sluice, broker, messages):
    client = harness.Mqtt(broker.port)
    before = sluice.cpu()
    try:
        for i in range(messages):
            client.client.publish(f"bench/{i % 500}", '{"temperature":21.5,"humidity":40,"battery":97,"linkquality":100,"voltage":2995}', 0)
            if i % 2000 == 0:
                harness.wait_until(lambda: sluice.metric("sluice_messages_total") >= i - 4000, 60)
        harness.wait_until(lambda: sluice.metric("sluice_messages_total") >= messages, 60)
        harness.wait_until(lambda: sluice.metric("sluice_storage_waiting_bytes") == 0, 60)
        return f" {(sluice.cpu() - before) / messages * 1e6:.2f} us, the writer's {writer(sluice) / messages * 1e6:.2f}"
    finally:
        client.close()


def load(sluice, broker, clients, messages):
    options = {"protocol": "sluice-ws", "path": "/ws", "port": sluice.port, "publish_port": broker.port, "server": sluice.child.pid,
               "clients": clients, "messages": messages, "seconds": 300, "window": 2000, "burst": 16, "qos": 1}
    done = subprocess.run([LOADGEN, *(f"{key}={value}" for key, value in options.items())], stdout=subprocess.PIPE, text=True, timeout=400,
                          check=True)
    result = json.loads(done.stdout)
    assert not result["lost"] + result["doubled"] + result["disordered"], result
    return f" {result['rate']:.0f} deliveries/s, {result['cpu_us']:.3f} us each"


def run(directory, broker, store, clients, messages):
    sluice = harness.Sluice(directory, f"""
broker: {{ url: mqtt://127.0.0.1:{broker.port} }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: 1
routes:
  - topic: bench/+
    history: {{ store: {store}, count: 1000000, bytes: 1GiB }}
storage: {{ path: {directory}/{store}.db }}
limits: {{ history: 1GiB }}
""", name=store)
    try:
        out = load(sluice, broker, clients, messages) if clients else publish(sluice, broker, messages)
        sluice.stop()
        for file in pathlib.Path(directory).glob("*.db*"): # each run begins empty
            file.unlink()
        return out, float(re.search(r"([\d.]+) us", out).group(1))
    finally:
        sluice.end()


def main():
    clients, messages = int(sys.argv[1]), int(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    with tempfile.TemporaryDirectory() as directory:
        broker = harness.Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
        cost = {"memory": [], "disk": []}
        try:
            for _ in range(rounds):
                for store in cost:
                    text, each = run(directory, broker, store, clients, messages)
                    cost[store].append(each)
                    print(f"{store:7}{text}")
        finally:
            broker.end()
        memory, disk = (statistics.median(cost[store]) for store in ("memory", "disk"))
        print(f"median, CPU for each delivery: memory {memory:.2f} us, disk {disk:.2f} us, ratio {disk / memory:.2f}; "
              f"for each message {(disk - memory) * max(clients, 1):+.1f} us")


if __name__ == "__main__":
    main()
