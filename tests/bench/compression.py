#!/usr/bin/python3
"""What permessage-deflate (web.compression) saves and costs: bytes and CPU for a delivery, off and on.

    /usr/bin/python3 tests/bench/compression.py [clients...] [--messages N] [--rounds N] [--min OCTETS] [--payloads FILE]

Without a number of clients: 1 and 1000. FILE holds one JSON object a line, with `payload`; without it: the shapes below. Uses
build/release/sluice (or SLUICE_BINARY) and a mosquitto of its own on loopback, one worker; off and on take turns. CPU is that of
all threads of the gateway. Clients count bytes and inflate nothing. docs/benchmarks/optimisation.md quotes it.
"""
import argparse
import json
import pathlib
import random
import selectors
import socket
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/integration")]
from harness import Broker, Mqtt, Sluice, wait_until  # noqa: E402

UPGRADE = ("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")


def masked(text):
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text


def plug(chance):
    return {"state": "ON", "power": chance.randrange(2000) / 10, "energy": chance.randrange(99999) / 100, "linkquality": chance.randrange(255)}


def sensor(chance):
    return {"battery": chance.randrange(101), "voltage": chance.randrange(2400, 3200), "temperature": chance.randrange(4000) / 100,
            "humidity": chance.randrange(10000) / 100, "pressure": chance.randrange(9800, 10400) / 10, "linkquality": chance.randrange(255),
            "last_seen": f"2026-11-25T01:{chance.randrange(60):02}:{chance.randrange(60):02}.000Z", "update_available": False,
            "update": {"state": "idle", "installed_version": 16777241, "latest_version": 16777241}}


def thermostat(chance):
    days = {day: [{"time": f"{hour:02}:00", "temperature": chance.randrange(30, 46) / 2} for hour in (6, 9, 17, 22)]
            for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")}
    return sensor(chance) | {"local_temperature": chance.randrange(3000) / 100, "occupied_heating_setpoint": 21, "schedule": days}


SHAPES = {"plug": plug, "sensor": sensor, "thermostat": thermostat}


class Clients:
    """Plain sockets that only count what comes, on a thread of their own."""

    def __init__(self, port, count):
        self.totals, self.tails, self.sockets = [0] * count, [b""] * count, []
        self.selector = selectors.DefaultSelector()
        self.ended = False
        for number in range(count):
            one = socket.create_connection(("127.0.0.1", port))
            one.sendall(UPGRADE.encode() + masked(b'{"type":"subscribe","id":1,"channel":"bench/#"}'))
            head = b""
            while b'"subscribed"' not in head or not head.endswith(b"}"):
                head += one.recv(65536)
            self.deflate = b"permessage-deflate" in head
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ, number)
            self.sockets.append(one)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.ended:
            for key, _ in self.selector.select(0.1):
                bytes = key.fileobj.recv(65536)
                assert bytes, "the gateway hung up"
                self.totals[key.data] += len(bytes)
                self.tails[key.data] = bytes[-40:]

    def settled(self):
        """Everybody has got as much, and nothing came for a moment."""
        before = list(self.totals)
        time.sleep(0.1)
        return before[0] and len(set(before)) == 1 and before == self.totals

    def close(self):
        for one in self.sockets:
            one.sendall(masked(b'{"type":"ping","id":7}'))
        wait_until(lambda: all(tail.endswith(b'{"type":"pong","id":7}') for tail in self.tails), 30, "the pongs")
        self.ended = True
        self.thread.join()
        for one in self.sockets:
            one.close()


def cpu_us(gateway):
    """Of all threads, by the scheduler's own clock."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{gateway.child.pid}/task").glob("*/schedstat")) / 1000


def measure(directory, on, clients, payloads, rate, least):
    """Bytes a delivery, CPU a message and a delivery."""
    broker = Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
    gateway = Sluice(directory, f"""
broker: {{ url: "mqtt://127.0.0.1:{broker.port}" }}
listen: [{{ address: "127.0.0.1:0" }}]
workers: 1
limits: {{ connections: 20000 }}
web: {{ heartbeat: 10m, compression: {str(on).lower()}, compression_min: {least} }}
routes: [{{ topic: "bench/#", history: {{ count: 100 }} }}]
""")
    client = Mqtt(broker.port)
    try:
        crowd = Clients(gateway.port, clients)
        assert crowd.deflate is on
        before, began = cpu_us(gateway), time.monotonic()
        for number, payload in enumerate(payloads):
            client.client.publish("bench/device", payload, 0)
            time.sleep(max(0, began + number / rate - time.monotonic()))
        wait_until(lambda: gateway.metric("sluice_deliveries_total") == clients * len(payloads), 60, "the deliveries")
        wait_until(crowd.settled, 60, "the bytes")
        cpu = cpu_us(gateway) - before
        bytes = crowd.totals[0] / len(payloads)
        crowd.close()
        return bytes, cpu / len(payloads), cpu / len(payloads) / clients
    finally:
        client.close()
        gateway.stop()
        broker.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clients", type=int, nargs="*")
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--min", type=int, default=256)
    parser.add_argument("--payloads")
    args = parser.parse_args()
    shapes = {}
    if args.payloads:
        rows = [json.loads(line) for line in open(args.payloads, encoding="utf-8")]
        shapes["file"] = [row["payload"].encode("utf-8", "replace") for row in rows if row.get("payload")]
    else:
        for name, shape in SHAPES.items():
            chance = random.Random(name)
            shapes[name] = [json.dumps(shape(chance), separators=(",", ":")).encode() for _ in range(args.messages)]
    print("| payload | clients | | bytes a delivery | CPU a message | CPU a delivery |\n| --- | --- | --- | --- | --- | --- |")
    for name, payloads in shapes.items():
        for clients in args.clients or [1, 1000]:
            results = {False: [], True: []}
            for _ in range(args.rounds):
                for on in results:
                    with tempfile.TemporaryDirectory() as directory:
                        rate = 200 if clients < 100 else 20
                        results[on].append(measure(pathlib.Path(directory), on, clients, payloads, rate, args.min))
            for on, rounds in results.items():
                bytes, message, delivery = (statistics.median(column) for column in zip(*rounds))
                size = round(statistics.mean(map(len, payloads)))
                print(f"| {name}, {size} bytes | {clients} | {'on' if on else 'off'} | {bytes:.0f} | {message:.0f} µs | {delivery:.2f} µs |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
