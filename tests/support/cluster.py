"""A real cluster on loopback: one mosquitto, one redis-server, and several gateways with one sequence."""
import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading

import requests

from harness import BINARY, Broker, Process, Sluice, free_port, wait_until

# The server's binary: ENGINE_SERVER, Valkey's, or Redis'.
REDIS = os.environ.get("ENGINE_SERVER") or shutil.which("valkey-server") or shutil.which("redis-server") or "/usr/bin/redis-server"

# What a broker needs so that it keeps what comes while another gateway takes over.
BROKER = "allow_anonymous true\nmax_queued_messages 1000000\nmax_inflight_messages 0\npersistence false"

CONFIG = """
broker: {{ url: "{broker}", client_id: cluster, session_expiry: 1h, reconnect: {{ min: 50ms, max: 200ms }}, keepalive: 5s{tls} }}
listen: [ {{ address: "127.0.0.1:0" }} ]
workers: {workers}
engine:
  valkey: {{ {engine} }}
  prefix: test
  node: {node}
  lease: {lease}
  log: {{ count: {log} }}
routes:
{routes}
{extra}
"""
ROUTES = """
  - { topic: "plant/{id}/{kind}", channel: "plant/{id}/{kind}", qos: 1, history: { count: 2000 }, publish: true }
"""


class Redis(Process):
    """The engine. Without `append` it holds nothing on the disk, and is empty after a kill."""

    def __init__(self, directory, append=False, port=None, tls=(), options=()):
        """`tls`: certificate, key and CA of a listener that speaks nothing else; then its plain one is `plain`."""
        self.directory = pathlib.Path(directory)
        self.append = append
        self.tls = tls
        self.options = list(options)
        self.plain = free_port() if tls else None
        self.port = port or free_port()
        self.start()

    def start(self):
        self.directory.mkdir(exist_ok=True)
        options = ["--appendonly", "yes", "--appendfsync", "everysec"] if self.append else ["--appendonly", "no"]
        secure = []
        if self.tls:
            cert, key, ca, *more = map(str, self.tls)
            secure = ["--tls-port", str(self.port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca,
                      "--tls-auth-clients", *(more or ["no"])]
        super().__init__([REDIS, "--port", str(self.plain or self.port), *secure, "--bind", "127.0.0.1", "127.0.0.2", "--save", "", "--dir", str(self.directory),
                          *options, *self.options], self.directory / "redis.log")
        wait_until(self.listening, what="redis-server to listen")

    def listening(self):
        assert self.child.poll() is None, self.text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.plain or self.port)):
                return False
        return self.ask("PING") == "PONG"

    def ask(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.plain or self.port), *words], capture_output=True, text=True, timeout=10)
        return done.stdout.strip()


class Keeper(Broker):
    """A broker that keeps sessions and messages on its disk, where save() puts them."""

    def save(self):
        """Returns once the file is there: it is written under another name, and renamed."""
        path = self.directory / "mosquitto.db"
        before = path.stat().st_ino if path.exists() else None
        self.signal(signal.SIGUSR1)
        wait_until(lambda: path.exists() and path.stat().st_ino != before, what="the broker to save")


class Line:
    """A line to a port of this machine that can be cut: nothing comes through then, and nobody is told, as with a pulled cable.

    It can also be held in one direction, so that one side has what the other does not know of yet."""

    def __init__(self, target):
        self.target = target
        self.port = None
        self.loop = asyncio.new_event_loop()
        self.flowing, self.out, self.back = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for event in (self.flowing, self.out, self.back):
            event.set()
        self.writers = set()
        ready = threading.Event()
        self.thread = threading.Thread(target=self.run, args=(ready,), daemon=True)
        self.thread.start()
        assert ready.wait(5)

    def run(self, ready):
        asyncio.set_event_loop(self.loop)
        self.server = self.loop.run_until_complete(asyncio.start_server(self.accept, "127.0.0.1", 0))
        self.port = self.server.sockets[0].getsockname()[1]
        ready.set()
        self.loop.run_forever()

    async def accept(self, reader, writer):
        self.writers.add(writer)
        with contextlib.suppress(OSError):
            await self.flowing.wait()
            there, out = await asyncio.open_connection("127.0.0.1", self.target)
            self.writers.add(out)
            await asyncio.gather(self.carry(reader, out, self.out), self.carry(there, writer, self.back))
        writer.close()

    async def carry(self, reader, writer, way):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                await way.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    def cut(self):
        self.loop.call_soon_threadsafe(self.flowing.clear)

    def hold(self, way):
        """`way`: `out`, to the port, or `back`; the other way goes on."""
        held = threading.Event()

        def clear():
            getattr(self, way).clear()
            held.set()
        self.loop.call_soon_threadsafe(clear)
        assert held.wait(5)

    def splice(self):
        """The cable is there again; connections that were through it end, as they would after a time."""
        def again():
            for writer in self.writers:
                writer.transport.abort()
            self.writers.clear()
            for event in (self.flowing, self.out, self.back):
                event.set()
        self.loop.call_soon_threadsafe(again)

    def end(self):
        async def stop():
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.splice()
        asyncio.run_coroutine_threadsafe(stop(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)


class Node(Sluice):
    """One gateway of the cluster, which comes back on the same port."""

    def __init__(self, directory, name, broker, redis, lease="1500ms", log=100000, workers=1, routes=ROUTES, extra="", ca=None, ready=True):
        self.directory = pathlib.Path(directory)
        self.node = name
        self.starts = 0
        url = broker if isinstance(broker, str) else f"mqtt://127.0.0.1:{broker}"
        engine = redis if isinstance(redis, str) else f'url: "redis://127.0.0.1:{redis}"'
        self.yaml = CONFIG.format(broker=url, tls=f", tls: {{ ca_file: {ca} }}" if ca else "", engine=engine, node=name, lease=lease, log=log, workers=workers, routes=routes, extra=extra)
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
