#!/usr/bin/env python3
"""What TLS costs the gateway, with nginx and nchan beside it (packages nginx, libnginx-mod-nchan). The clients are Python's ssl.

  tls.py idle [CLIENTS]          one message to one plain client beside idle clients, plain and TLS; memory for each
  tls.py accept [CLIENTS]        CPU to accept one: full and resumed handshakes, ECDSA and RSA, TLS 1.2 and 1.3
  tls.py paced [CLIENTS]         20 messages/s, CPU for each delivery
  tls.py saturated [CLIENTS]     bursts of 64, CPU for each delivery
  tls.py storm [CLIENTS ...]     all clients return with their cursors after kill -9, plain and TLS, with and without storage
  tls.py tokens [CLIENTS]        CPU to accept a plain one with a JWT: RS256 and ES256, one token for all and one for each

SLUICE_BINARY names the binary to measure.
"""
import concurrent.futures
import pathlib
import re
import resource
import select
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/integration"), str(ROOT / "tests/bench/runner")]
import harness  # noqa: E402
from peers import Nchan  # noqa: E402
from tlsfiles import certificate  # noqa: E402

PAYLOAD = '{"temperature":21.5,"humidity":40,"battery":97,"linkquality":100,"voltage":2995}'


def cpu(pids):
    """Seconds on a processor, by the scheduler's own count."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory(pid, field="VmRSS"):
    return int(re.search(field + r":\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) * 1024


class Server:
    """One under measurement: its ports, its processes, how to stream from it and publish to it."""


class Gateway(Server):
    title = "Sluice"

    def __init__(self, world, cert, extra="", port=(0, 0), name="sluice", storage=False):
        self.world = world
        keep = f"storage: {{ path: {world.directory}/{name}.db }}\n" if storage else ""
        store = ", store: disk" if storage else ""
        text = f"""
broker: {{ url: mqtt://127.0.0.1:{world.broker.port} }}
listen:
  - address: 127.0.0.1:{port[0]}
  - address: 127.0.0.1:{port[1]}
    tls: {{ cert_file: {cert[0]}, key_file: {cert[1]} }}
workers: 1
web: {{ request_timeout: 10m }}
limits: {{ connections: 20000, connections_per_address: 20000 }}
routes: [{{ topic: bench/#, history: {{ count: 1000{store} }} }}]
{keep}{extra}"""
        self.process = harness.Sluice(world.directory, text, name=name)
        self.plain, self.tls = (int(port) for port in re.findall(r"listening on \S+:(\d+),", self.process.text())[-2:])
        self.pid = self.process.child.pid
        self.pids = [self.pid]

    def stream(self, channel="bench/1", cursor=None):
        cursor = f"&cursor={cursor}" if cursor else ""
        return f"GET /sse?channel={channel}{cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    def publish(self, channel="bench/1", payload=PAYLOAD):
        self.world.client.client.publish(channel, payload, 0)

    def end(self):
        self.process.end()


class Peer(Server):
    title = "nginx, nchan"

    def __init__(self, world, cert):
        directory = world.directory / f"nginx-{harness.free_port()}"
        directory.mkdir()
        self.tls, self.session = harness.free_port(), requests.Session()
        self.session.trust_env = False
        listen = f"listen 127.0.0.1:{self.tls} ssl backlog=4096;\n    ssl_certificate {cert[0]};\n    ssl_certificate_key {cert[1]};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    location = /ready"

        class WithTls(Nchan):
            CONFIG = Nchan.CONFIG.replace("location = /ready", listen.replace("{", "{{").replace("}", "}}"), 1)

        self.process, self.plain, self.pids = WithTls("nchan", "nchan", "sse", "/sub/", "nchan").server(directory, None)
        self.pid = self.pids[-1]
        self.pids = self.pids[-1:]

    def stream(self, channel="bench", cursor=None):
        return b"GET /sub/bench HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"

    def publish(self):
        self.session.post(f"http://127.0.0.1:{self.plain}/pub/bench", data=PAYLOAD)

    def end(self):
        self.process.end()


class World:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.broker = harness.Broker(self.directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
        self.client = harness.Mqtt(self.broker.port)


def connect(server, tls, context=None, request=None, session=None):
    raw = socket.create_connection(("127.0.0.1", server.tls if tls else server.plain), 60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        raw = context.wrap_socket(raw, server_hostname="localhost", session=session)
    if request:
        raw.sendall(request)
    return raw


def trusting(cert, version=None):
    context = ssl.create_default_context(cafile=str(cert[0]))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def crowd(server, count, tls, context, request, ready=b"\n\n"):
    """So many clients whose stream has begun."""
    def one(_):
        client = connect(server, tls, context, request)
        text = b""
        while ready not in text and b"\r\n\r\n" not in text:
            text += client.recv(4096)
        return client
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(count)))


def idle(world, cert, count):
    for tls in (False, True):
        gateway = Gateway(world, cert, name=f"idle-{tls}")
        context = trusting(cert)
        before = memory(gateway.pid)
        clients = crowd(gateway, count, tls, context, gateway.stream("bench/silent"))
        time.sleep(1)
        each = (memory(gateway.pid) - before) / count
        probe = connect(gateway, False, request=gateway.stream("bench/probe"))
        while b"retry:" not in probe.recv(4096):
            pass
        times, rounds = [], 400
        for number in range(rounds + 50):
            if number == 50:
                used = cpu(gateway.pids)
            begun = time.perf_counter()
            gateway.publish("bench/probe", str(number))
            while b"data:" not in probe.recv(4096):
                pass
            times.append(time.perf_counter() - begun)
            time.sleep(0.002)
        used = (cpu(gateway.pids) - used) / rounds
        print(f"beside {count} idle {'TLS' if tls else 'plain'} clients: {used * 1e6:.0f} us CPU a message, "
              f"p50 {statistics.median(times[50:]) * 1e3:.2f} ms; {each / 1000:.1f} kB of memory each")
        for client in clients:
            client.close()
        gateway.end()


def accepting(server, context, count, resumed):
    """CPU for each, in microseconds."""
    session = None
    if resumed:
        first = connect(server, True, context, b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first.recv(4096)
        session = first.session
        first.close()
    used, clients = cpu(server.pids), []
    for _ in range(count):
        clients.append(connect(server, True, context, session=session))
    assert clients[-1].session_reused == resumed
    time.sleep(0.2)
    used = (cpu(server.pids) - used) / count * 1e6
    for client in clients:
        client.close()
    time.sleep(0.2)
    return used


def accept(world, cert, count):
    rsa = certificate(world.directory, "rsa", key="rsa")
    for kind, pair in (("ECDSA", cert), ("RSA", rsa)):
        servers = [Gateway(world, pair, name=f"accept-{kind}"), Peer(world, pair)]
        for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
            context = trusting(pair, version)
            for resumed in (False, True):
                line, rounds = [[], []], 5
                for _ in range(rounds):
                    for server, costs in zip(servers, line):
                        costs.append(accepting(server, context, count // rounds, resumed))
                line = [statistics.median(costs) for costs in line]
                print(f"accept, {kind}, {version.name}, {'resumed' if resumed else 'full'}: Sluice {line[0]:.0f} us CPU each, "
                      f"nginx {line[1]:.0f}, ratio {line[0] / line[1]:.2f}")
        for server in servers:
            server.end()


class Readers:
    """Takes everything that comes to these clients, and counts."""

    def __init__(self, clients):
        self.bytes, self.events, self.going = 0, 0, True
        self.poll, self.clients = select.epoll(), {client.fileno(): client for client in clients}
        for fd, client in self.clients.items():
            client.setblocking(False)
            self.poll.register(fd, select.EPOLLIN)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.going:
            for fd, _ in self.poll.poll(0.2):
                try:
                    while True:
                        text = self.clients[fd].recv(65536)
                        if not text:
                            self.poll.unregister(fd)
                            break
                        self.events += text.count(b"data:")
                except (ssl.SSLWantReadError, BlockingIOError):
                    pass


def deliveries(world, cert, count, pace, batch, rounds):
    context = trusting(cert)
    for title, make, tls in (("Sluice, TLS", Gateway, True), ("nchan, TLS", Peer, True), ("Sluice, plain", Gateway, False)):
        server = Gateway(world, cert, name=f"d{tls}{pace}") if make is Gateway else Peer(world, cert)
        clients = crowd(server, count, tls, context, server.stream())
        readers = Readers(clients)
        for _ in range(5):
            server.publish()
        harness.wait_until(lambda: readers.events >= 5 * count, 30, "the first messages")
        used, begun = cpu(server.pids), readers.events
        for number in range(rounds):
            for _ in range(batch):
                server.publish()
            if pace:
                time.sleep(pace)
            elif number % 4 == 3:
                harness.wait_until(lambda: readers.events - begun >= batch * (number - 3) * count, 120, "the readers")
        harness.wait_until(lambda: readers.events - begun >= batch * rounds * count, 120, "every delivery")
        print(f"{title}: {(cpu(server.pids) - used) / (batch * rounds * count) * 1e6:.2f} us CPU a delivery")
        readers.going = False
        readers.thread.join()
        for client in clients:
            client.close()
        server.end()


def restarted(world, cert, name, storage):
    """A gateway that was killed after 20 messages and runs again, and the cursor before them."""
    gateway = Gateway(world, cert, name=name, storage=storage)
    gateway.publish("bench/1", "first")
    harness.wait_until(lambda: gateway.process.metric("sluice_messages_total") >= 1)
    cursor = gateway.process.get("/channels/bench/1").json()["cursor"]
    for number in range(20):
        gateway.publish("bench/1", str(number))
    harness.wait_until(lambda: gateway.process.metric("sluice_messages_total") >= 21)
    if storage:
        harness.wait_until(lambda: gateway.process.metric("sluice_storage_waiting_bytes") == 0)
    gateway.process.signal(9)
    gateway.process.wait()
    return Gateway(world, cert, port=(gateway.plain, gateway.tls), name=name, storage=storage), cursor


def storm(world, cert, counts):
    context = trusting(cert)
    for title, storage in (("Sluice", False), ("Sluice with storage", True), ("nchan", False)):
        for tls in (False, True):
            for count in counts:
                if title == "nchan":  # it keeps nothing and knows no cursor: only the connecting can be compared
                    server, cursor = Peer(world, cert), None
                else:
                    server, cursor = restarted(world, cert, f"storm-{storage}-{tls}-{count}", storage)
                before, used, begun = memory(server.pid), cpu(server.pids), time.perf_counter()
                clients = crowd(server, count, tls, context, server.stream("bench/1", cursor))
                took = time.perf_counter() - begun
                print(f"storm, {title}, {'TLS' if tls else 'plain'}: {count} back in {took:.2f} s, "
                      f"{(cpu(server.pids) - used) / count * 1e6:.0f} us CPU each, peak {(memory(server.pid, 'VmHWM') - before) / 1e6:.1f} MB more")
                for client in clients:
                    client.close()
                server.end()


def tokens(world, cert, count):
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    for alg, key in (("none", None), ("RS256", rsa.generate_private_key(65537, 2048)), ("ES256", ec.generate_private_key(ec.SECP256R1()))):
        extra = ""
        if key:
            path = world.directory / f"{alg}.pem"
            path.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
            extra = f"auth: {{ jwt: {{ key_file: {path} }}, anonymous: [all] }}\nroles: {{ all: {{ subscribe: '#' }} }}\n"
        gateway = Gateway(world, cert, extra=extra, name=f"tokens-{alg}")
        for each in (False, True) if key else (False,):
            made = [jwt.encode({"sub": f"user {number}", "exp": int(time.time()) + 3600, "roles": ["all"]}, key, alg).encode()
                    for number in range(count if each else 1)] if key else [None]
            requests_ = [gateway.stream()[:-2] + (b"Authorization: Bearer " + token + b"\r\n\r\n" if token else b"\r\n") for token in made]
            used, clients = cpu(gateway.pids), []
            for number in range(count):
                client = connect(gateway, False, request=requests_[number % len(requests_)])
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                clients.append(client)
            print(f"{alg}, {'a token for each' if each else 'one for all'}: {(cpu(gateway.pids) - used) / count * 1e6:.0f} us CPU a client")
            for client in clients:
                client.close()
        gateway.end()


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    what, numbers = sys.argv[1] if len(sys.argv) > 1 else "", [int(text) for text in sys.argv[2:]]
    with tempfile.TemporaryDirectory() as directory:
        world = World(directory)
        cert = certificate(world.directory, "bench")
        try:
            if what == "idle":
                idle(world, cert, *(numbers or [4000]))
            elif what == "accept":
                accept(world, cert, *(numbers or [1000]))
            elif what == "paced":
                deliveries(world, cert, *(numbers or [500]), 0.05, 1, 200)
            elif what == "saturated":
                deliveries(world, cert, *(numbers or [200]), 0, 64, 40)
            elif what == "storm":
                storm(world, cert, numbers or [1000, 3000])
            elif what == "tokens":
                tokens(world, cert, *(numbers or [1000]))
            else:
                sys.exit(__doc__)
        finally:
            world.client.close()
            world.broker.end()


if __name__ == "__main__":
    main()
