"""What the scenarios that are programs share: starting a gateway, crowds of clients, publishing, and what processes cost."""
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.request

import peers
from peers import BUILD, Process

sys.path.insert(0, str(peers.ROOT / "tests/integration"))
from tlsfiles import certificate  # noqa: E402

BENCH = BUILD / "tests/bench"
PAYLOAD = '{"temperature":21.5,"hum":40.0}'
PATIENCE = 60


def cpu(*pids):
    """Seconds of user and system time of all their threads, from each process's own clock."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def memory(pid, field="VmRSS"):
    return int(re.search(field + r":\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


def calm(pids):
    """Waits until they rest: (seconds of CPU, the time at which the last of it was used)."""
    used, at, end = cpu(*pids), time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.02)
        new = cpu(*pids)
        if new - used > 0.0005:
            used, at = new, time.monotonic()
        elif time.monotonic() - at > 0.15:
            return used, at
    raise RuntimeError(f"the server was still busy after {PATIENCE} s")


class Gateway:
    """A gateway on `broker`; `routes` and `more` are YAML."""

    def __init__(self, directory, broker, routes="[{ topic: 'bench/#' }]", more="", limits="", tls=False, ports=(0, 0), name="sluice"):
        listen = f"  - address: 127.0.0.1:{ports[0]}\n"
        if tls:
            cert, key = certificate(directory, name)
            listen += f"  - address: 127.0.0.1:{ports[1]}\n    tls: {{ cert_file: {cert}, key_file: {key} }}\n"
        path = directory / f"{name}.yaml"
        path.write_text(f"broker: {{ url: 'mqtt://127.0.0.1:{broker.port}' }}\nlisten:\n{listen}workers: 1\nroutes: {routes}\n"
                        f"limits: {{ connections: 20000{limits} }}\nweb: {{ request_timeout: 10m }}\n{more}")
        self.broker = broker
        self.process = Process([BUILD / "sluice", "-c", str(path)], directory / f"{name}.log")
        self.port = self.process.port_in_log()
        self.pid = self.process.child.pid
        self.pids = [self.pid]
        self.process.wait_for(self.ready, "/readyz")
        found = re.findall(r"listening on \S+:(\d+)", self.process.log.read_text())
        self.tls_port = int(found[1]) if tls else None

    def ready(self):
        with contextlib.suppress(OSError):
            return self.get("/readyz").status == 200

    def get(self, path):
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.get("/metrics").read().decode(), re.M).group(1))

    def stream(self, *channels, cursor=None, token=None):
        query = "&".join(f"channel={channel.replace('#', '%23').replace('+', '%2B')}" for channel in channels)
        return (f"GET /sse?{query}{'&cursor=' + cursor if cursor else ''} HTTP/1.1\r\nHost: localhost\r\n"
                f"{'Authorization: Bearer ' + token + chr(13) + chr(10) if token else ''}\r\n")

    def publish(self, count, interval=0.0, burst=1, topic="bench/1", **more):
        feed(self.broker.port, topic=topic, messages=count, burst=burst, interval_us=round(interval * 1e6), **more)

    def kill(self):
        self.process.child.kill()
        self.process.child.wait()

    def end(self):
        self.process.end()


class Nchan:
    """nginx with nchan, and with TLS on a second port."""

    def __init__(self, directory, broker, tls=False):
        self.tls_port = peers.free_port()
        config = peers.Nchan.CONFIG
        if tls:
            cert, key = certificate(directory, "nchan")
            config = config.replace("location = /ready", f"listen 127.0.0.1:{self.tls_port} ssl backlog=4096;\n    ssl_certificate {cert};\n"
                                    f"    ssl_certificate_key {key};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    client_max_body_size 8m; client_body_buffer_size 8m;\n    location = /ready", 1)
        else:
            config = config.replace("location = /ready", "client_max_body_size 8m; client_body_buffer_size 8m; location = /ready", 1)
        peer = peers.Nchan("nchan", "nchan", "sse", "/sub/", "nchan")
        peer.CONFIG = config
        self.process, self.port, pids = peer.server(directory, broker)
        self.pids = pids[-1:]
        self.pid = self.pids[0]

    def stream(self, *channels, cursor=None, token=None):
        return f"GET /sub/{channels[0]} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"

    def publish(self, count, interval=0.0, burst=1, topic="bench/1", bytes=0):
        """Pipelined POSTs; a connection for each burst, since nchan does not read large bodies to their end."""
        body = b"x" * bytes or PAYLOAD.encode()
        post = f"POST /pub/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        due = time.monotonic()
        for start in range(0, count, burst):
            now = min(burst, count - start)
            with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock:
                sock.sendall(post * now)
                answers = b""
                while answers.count(b"HTTP/1.1 2") < now:
                    answers += sock.recv(65536)
                    if b"HTTP/1.1 4" in answers or b"HTTP/1.1 5" in answers:
                        raise RuntimeError(f"nchan refuses a message: {answers[:200]}")
            due += interval
            time.sleep(max(0, due - time.monotonic()))

    def end(self):
        self.process.end()


class Crowd:
    """Clients of crowd.c; they are there when this returns."""

    def __init__(self, directory, port, clients, requests, begun="\n\n", mark="", nice=0, **more):
        path = directory / f"requests-{port}-{clients}"
        path.write_bytes(b"".join(request.encode() + b"\0" for request in requests))
        words = {"port": port, "clients": clients, "requests": path, "begun": begun, **({"mark": mark} if mark else {}), **more}
        self.child = subprocess.Popen([BENCH / "crowd", *(f"{k}={v}" for k, v in words.items())], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=lambda: os.nice(nice))
        self.begin = json.loads(self.line())

    def line(self):
        text = self.child.stdout.readline()
        if not text:
            raise RuntimeError(self.child.stderr.read().strip() or "the crowd ended")
        return text

    def wait(self, marks):
        """Until so many have come to all of them together."""
        self.child.stdin.write(f"{marks}\n")
        self.child.stdin.flush()
        return json.loads(self.line())["marks"]

    def end(self):
        self.child.stdin.close()
        self.child.wait(10)


def feed(port, **words):
    done = subprocess.run([BENCH / "feed", f"port={port}", *(f"{k}={v}" for k, v in words.items())], capture_output=True, text=True,
                          timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return float(done.stdout)


def probe(server, broker, **words):
    """The load generator as a bystander, on a channel of its own, TOPIC/0: figures_of() has what it found."""
    options = {"protocol": "raw", "path": "/channels/", "topic": "bench/probe", "port": server.port, "publish": "mqtt", "publish_port": broker.port,
               "server": server.pid, "clients": 10, "warm": 0.2, "seconds": 2, "window": 100000}
    if isinstance(server, Nchan):
        options |= {"path": "/sub/", "publish": "nchan", "publish_port": server.port}
    return subprocess.Popen([BENCH / "loadgen", *(f"{k}={v}" for k, v in (options | words).items())], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, preexec_fn=peers_first)


def peers_first():
    with contextlib.suppress(PermissionError):
        os.nice(-10)


def figures_of(child):
    out, err = child.communicate(timeout=PATIENCE)
    if child.returncode:
        raise RuntimeError(err.strip()[-300:])
    found = json.loads(out)
    wrong = [f"{found[key]} {key}" for key in ("lost", "doubled", "disordered") if found[key]]
    if wrong:
        raise RuntimeError(", ".join(wrong))
    return found


@contextlib.contextmanager
def world(directory):
    """A broker, and a list: what is appended to it is ended, the last first."""
    broker = peers.Broker(directory)
    things = []
    try:
        yield broker, things
    finally:
        for thing in reversed(things):
            thing.end()
        broker.end()
