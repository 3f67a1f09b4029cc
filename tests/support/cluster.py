"""A real cluster on loopback: one mosquitto, one redis-server, and several gateways with one sequence."""
import json
import pathlib
import shutil
import socket
import subprocess

import requests

from harness import Broker, Process, Sluice, free_port, wait_until

REDIS = shutil.which("valkey-server") or shutil.which("redis-server") or "/usr/bin/redis-server"

# What a broker needs so that it keeps what comes while another gateway takes over.
BROKER = "allow_anonymous true\nmax_queued_messages 1000000\nmax_inflight_messages 0\npersistence false"

CONFIG = """
broker: {{ url: "mqtt://127.0.0.1:{broker}", client_id: cluster, session_expiry: 1h, reconnect: {{ min: 50ms, max: 200ms }} }}
listen: [ {{ address: "127.0.0.1:0" }} ]
workers: {workers}
engine:
  valkey: {{ url: "redis://127.0.0.1:{redis}" }}
  prefix: test
  node: {node}
  lease: {lease}
routes:
{routes}
{extra}
"""
ROUTES = """
  - { topic: "plant/{id}/{kind}", channel: "plant/{id}/{kind}", qos: 1, history: { count: 2000 }, publish: true }
"""


class Redis(Process):
    """The engine. Without `append` it holds nothing on the disk, and is empty after a kill."""

    def __init__(self, directory, append=False, port=None):
        self.directory = pathlib.Path(directory)
        self.append = append
        self.port = port or free_port()
        self.start()

    def start(self):
        self.directory.mkdir(exist_ok=True)
        options = ["--appendonly", "yes", "--appendfsync", "everysec"] if self.append else ["--appendonly", "no"]
        super().__init__([REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory),
                          *options], self.directory / "redis.log")
        wait_until(self.listening, what="redis-server to listen")

    def listening(self):
        assert self.child.poll() is None, self.text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        return self.ask("PING") == "PONG"

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.port), *words], capture_output=True, text=True, timeout=10)
        return done.stdout.strip()


class Node(Sluice):
    """One gateway of the cluster, which comes back on the same port."""

    def __init__(self, directory, name, broker, redis, lease="1500ms", workers=1, routes=ROUTES, extra="", ready=True):
        self.directory = pathlib.Path(directory)
        self.node = name
        self.starts = 0
        self.yaml = CONFIG.format(broker=broker, redis=redis, node=name, lease=lease, workers=workers, routes=routes, extra=extra)
        self.again(ready)

    def again(self, ready=True):
        """Starts it, or starts it anew after its end."""
        self.starts += 1
        yaml = self.yaml if self.starts == 1 else self.yaml.replace("127.0.0.1:0", f"127.0.0.1:{self.port}")
        super().__init__(self.directory, yaml, f"{self.node}-{self.starts}", ready)

    def leads(self):
        """As its metrics say; False while it does not answer."""
        try:
            return self.metric("sluice_engine_leader") == 1
        except (requests.RequestException, AssertionError):
            return False


def leader(nodes, timeout=15):
    """The node that takes messages in, once there is one."""
    return wait_until(lambda: next((node for node in nodes if node.child.poll() is None and node.leads()), None), timeout, "a leader")
