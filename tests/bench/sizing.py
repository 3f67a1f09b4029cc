#!/usr/bin/python3
"""What one gateway needs: memory for an idle connection, a channel, a message of history; CPU for a delivery.

    /usr/bin/python3 tests/bench/sizing.py [connections] [what...]

`what`: connections, channels, history, cpu; all without it. Uses build/release/sluice (or SLUICE_BINARY) and a mosquitto of its own on
loopback, one worker. Memory is the difference of VmRSS before and after, divided by how many there are. docs/operations.md quotes it.
"""
import asyncio
import json
import os
import pathlib
import resource
import ssl
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/integration")]
from harness import BINARY, Broker, Mqtt, Sluice, wait_until  # noqa: E402
from tlsfiles import certificate, ports  # noqa: E402

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
KINDS = {
    "WebSocket `/ws`, one subscription": ("/ws", KEY, b'{"type":"subscribe","id":1,"channel":"rooms/+/t"}'),
    "raw socket `/channels/NAME`": ("/channels/rooms/a/t", KEY, None),
    "Server-Sent Events `/sse`": ("/sse?channel=rooms/%2B/t", "", None),
    "held poll `/poll`": ("/poll?channel=rooms/%2B/t&wait=600", "", None),
    "idle HTTP connection (keep-alive)": ("/healthz", "", None),
}


def masked(text):
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


class Gateway:
    def __init__(self, directory, history="{ count: 0 }"):
        self.broker = Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
        cert, key = certificate(pathlib.Path(directory), "sizing")
        self.sluice = Sluice(directory, f"""
broker:
  url: mqtt://127.0.0.1:{self.broker.port}
listen:
  - address: 127.0.0.1:0
  - address: 127.0.0.1:0
    tls: {{ cert_file: {cert}, key_file: {key} }}
workers: 1
limits: {{ connections: 100000, channels: 1000000 }}
web: {{ keepalive: 1h, poll_wait_max: 1h, request_timeout: 10m, heartbeat: 10m }}
routes:
  - topic: "#"
    history: {history}
""")
        self.plain, self.tls = ports(self.sluice)
        self.client = Mqtt(self.broker.port)
        self.count = 0

    def settle(self, more):
        """Sends so many messages, and waits until the gateway has all."""
        infos = [self.client.client.publish(topic, payload, 0) for topic, payload in more]
        self.count += len(infos)
        wait_until(lambda: self.sluice.metric("sluice_mqtt_received_total") >= self.count, 300, "the messages")

    def rss(self):
        return self.sluice.rss()

    def end(self):
        self.client.close()
        self.sluice.stop()
        self.broker.end()


async def connections(gateway, kind, tls, count):
    target, headers, first = KINDS[kind]
    context = None
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def one(gate):
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.tls if tls else gateway.plain, ssl=context, limit=4096)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode())
            if "poll" not in target:
                await reader.readuntil(b"\r\n\r\n")
            if first:
                writer.write(masked(first))
                await reader.readuntil(b'"subscribed"')
            return reader, writer  # both: asyncio ends what is not held

    async def some(number):
        gate = asyncio.Semaphore(100)
        return await asyncio.gather(*(one(gate) for _ in range(number)))

    warm = await some(100)  # what the first ones cost once and for all
    wait_until(lambda: gateway.sluice.metric("sluice_connections") >= 100)
    before = gateway.rss()
    writers = await some(count)
    if "poll" in target:
        wait_until(lambda: gateway.sluice.metric("sluice_sessions") >= 100 + count, 60)
    there = gateway.sluice.metric("sluice_connections") - 101  # one of them is ours
    after = gateway.rss()
    for _, writer in warm + writers:
        writer.transport.abort()
    if there < count:
        print(f"({count - there:.0f} connections were lost)", file=sys.stderr)
    return (after - before) / there


def measure_connections(directory, count):
    print(f"\n{count} idle connections, memory of the process for each\n\n| | plain | TLS |\n| --- | --- | --- |")
    for kind in KINDS:
        row = []
        for tls in (False, True):
            gateway = Gateway(tempfile.mkdtemp(dir=directory))  # a fresh one: freed memory is used again
            row.append(asyncio.run(connections(gateway, kind, tls, count)))
            gateway.end()
        print(f"| {kind} | {row[0] / 1000:.1f} kB | {row[1] / 1000:.1f} kB |", flush=True)


def measure_channels(directory):
    print("\n20,000 channels with one message of 20 bytes each, no history\n")
    gateway = Gateway(tempfile.mkdtemp(dir=directory))
    gateway.settle((f"warm/{i}/t", b"x" * 20) for i in range(100))
    before = gateway.rss()
    gateway.settle((f"rooms/number-{i}/t", b"x" * 20) for i in range(20000))
    print(f"{(gateway.rss() - before) / 20000:.0f} bytes a channel, its last value included", flush=True)
    gateway.end()


def measure_history(directory):
    print("\n50,000 messages in the history of 10 channels\n")
    for size in (20, 200, 2000):
        gateway = Gateway(tempfile.mkdtemp(dir=directory), "{ count: 100000, bytes: 1GiB }")
        gateway.settle((f"rooms/{i % 10}/t", b"x" * size) for i in range(100))
        before, told = gateway.rss(), gateway.sluice.metric("sluice_history_bytes")
        gateway.settle((f"rooms/{i % 10}/t", b"x" * size) for i in range(50000))
        per, said = (gateway.rss() - before) / 50000, (gateway.sluice.metric("sluice_history_bytes") - told) / 50000
        print(f"payload {size}: {per:.0f} bytes a message; sluice_history_bytes counts {said:.0f}", flush=True)
        gateway.end()


def measure_cpu(directory):
    loadgen = ROOT / "build/release/tests/bench/loadgen"
    if not loadgen.exists():
        subprocess.run(["cmake", "--build", "--preset", "release", "--target", "loadgen"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    print("\nCPU of the gateway for a delivery over /ws, 128 bytes (tests/bench/loadgen)\n", flush=True)
    for what, options in (("1 client, 500 messages a second", {"clients": 1, "interval_us": 2000}),
                          ("20 messages a second to 100 clients", {"clients": 100, "interval_us": 50000}),
                          ("20 messages a second to 1,000 clients", {"clients": 1000, "interval_us": 50000}),
                          ("1,000 clients, as much as it takes", {"clients": 1000, "interval_us": 150, "window": 64, "saturate": 1})):
        gateway = Gateway(tempfile.mkdtemp(dir=directory))
        options = {"protocol": "sluice-ws", "path": "/ws", "topic": "bench", "port": gateway.plain, "publish_port": gateway.broker.port,
                   "server": gateway.sluice.child.pid, "broker": gateway.broker.child.pid, "window": 1000, "warm": 0.5, "seconds": 3, **options}
        done = subprocess.run([loadgen, *(f"{key}={value}" for key, value in options.items())], capture_output=True, text=True, timeout=120, check=True)
        result = json.loads(done.stdout)
        print(f"{what}: {result['cpu_us']:.2f} us, {result['rate']:.0f} deliveries/s; lost {result['lost']}", flush=True)
        gateway.end()


def main():
    count = int(sys.argv[1]) if sys.argv[1:2] and sys.argv[1].isdigit() else 2000
    wanted = [word for word in sys.argv[1:] if not word.isdigit()]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"{BINARY}, {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        for name, run in (("connections", lambda: measure_connections(directory, count)), ("channels", lambda: measure_channels(directory)),
                          ("history", lambda: measure_history(directory)), ("cpu", lambda: measure_cpu(directory))):
            if not wanted or name in wanted:
                run()


main()
