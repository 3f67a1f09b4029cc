"""C16: every fault in one cluster that lives on, and many clients that reach it through HAProxy, without stickiness.

Besides what the judge says: every node ends with status 0 (also for what a sanitizer found), and its memory does not grow.
"""
import pathlib
import tempfile
import time

import requests

import cases
import hoppers
from harness import Parent, free_port, wait_until

HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 120s
    timeout server 120s
    timeout tunnel 120s
    option redispatch
    retries 2
frontend all
    bind 127.0.0.1:{port}
    default_backend sluice
backend sluice
    balance roundrobin
    option httpchk GET /readyz
    default-server check inter 200ms fall 1 rise 1
{servers}
"""
FAULTS = ["C2", "C3", "C4", "C5", "C6", "C7", "C7-pause", "C8", "C11-engine", "C11-broker", "C11-both", "C15", "C10", "C14", "C9"]
GROWTH = 1.3        # of the memory, from the middle of the run to its end
GROWTH_MINUTES = 10 # the histories are full before


class Proxy(Parent):
    """HAProxy in front of the nodes; to a client it looks like one of them."""
    node = "HAProxy"

    def __init__(self, directory, nodes):
        self.port = free_port()
        servers = "\n".join(f"    server {node.node} 127.0.0.1:{node.port}" for node in nodes)
        config = directory / "haproxy.cfg"
        config.write_text(HAPROXY.format(port=self.port, servers=servers))
        super().__init__(["/usr/sbin/haproxy", "-db", "-f", str(config)], directory / "haproxy.log")
        self.http, self.ws = f"http://127.0.0.1:{self.port}", f"ws://127.0.0.1:{self.port}"

    def ready(self):
        try:
            return requests.get(self.http + "/readyz", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


def field(world, clients):
    """Every twentieth client has everything, the others a channel each."""
    proxy = world.keep(Proxy(world.directory, world.nodes))
    wait_until(proxy.ready, what="HAProxy")
    names = [name for i in range(2) for topic in hoppers.Field.topics(i, 10) for name in hoppers.channels(topic)]
    filters = [hoppers.FILTER if i % 20 == 0 else names[i % len(names)] for i in range(20 * len(names))]
    return hoppers.Field(world.plain, world.nodes, clients=clients, rate=40, stay=(2, 15), doors=[proxy], filters=filters)


def grows(memory):
    """`memory`: seconds of the run -> bytes of all nodes."""
    if not memory or max(memory) < GROWTH_MINUTES * 60:
        return False
    end = max(memory)
    middle = [value for at, value in memory.items() if end / 3 < at < end * 2 / 3]
    last = [value for at, value in memory.items() if at >= end * 2 / 3]
    return max(last) > max(middle) * GROWTH


def run(rng, minutes, clients, directory):
    memory, done, todo = {}, [], []
    begun = time.monotonic()
    with cases.World(directory, 3, append=True, cut=True, persistent=True, routes=hoppers.ROUTES, extra=hoppers.EXTRA) as world:
        crowd = world.field = field(world, clients)
        try:
            while time.monotonic() < begun + minutes * 60:
                todo = todo or rng.sample(FAULTS, len(FAULTS))
                done.append(todo.pop())
                print(f"{time.monotonic() - begun:6.0f} s  {done[-1]}", flush=True)
                cases.CASES[done[-1]](world, rng)
                for node in world.nodes:
                    node.wait_ready()
                memory[time.monotonic() - begun] = sum(node.rss() for node in world.nodes)
        finally:
            report = crowd.finish(60)
        report["log"] = world.logs()
        for node in world.nodes:
            node.stop(30)
            if "Sanitizer" in node.text() or "runtime error" in node.text():
                report["faults"].append(f"{node.log}: a sanitizer's finding")
    if not cases.GAPS & set(done) and report["gaps"]:
        report["faults"].append(f"{report['gaps']} gaps where none should be")
    if grows(memory):
        report["faults"].append("the memory grows")
    report["memory"] = " ".join(f"{value / 1e6:.0f}" for value in memory.values()) + " MB"
    report["cases"] = len(done)
    return report


def main(rng, minutes, clients):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="cluster-soak-"))
    report = run(rng, minutes, clients, directory)
    report.pop("log")
    faults = report.pop("faults")
    for name, value in report.items():
        print(f"{name}: {value}")
    print(f"{len(faults)} faults", *faults[:20], sep="\n")
    if faults:
        print(f"logs: {directory}")
    return 1 if faults else 0
