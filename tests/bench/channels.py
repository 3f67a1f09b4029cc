#!/usr/bin/env python3
"""Many channels: what a snapshot of all of them costs each, and how long another client waits meanwhile.

  channels.py [BINARY] CHANNELS...      default: 10000 100000

For each number: time until all channels are there, memory for each, a snapshot of `#` for one client (default `limits.queue`), the
same for a client that resumes after a short break and, beside it, one that resumes a plain channel, `GET /channels`, and the longest
round trip of another client's ping during each. Without anybody else, a ping takes what stands in the line `idle`.
"""
import base64
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import struct
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import harness  # noqa: E402

PAYLOAD = b'{"temperature":21.5,"hum":40.0}'


class Ws:
    """A WebSocket that only counts what comes."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                          b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") + b"\r\n\r\n")
        self.rest = b""
        self.until(b'"welcome"')

    def send(self, **frame):
        data = json.dumps(frame).encode()
        head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else struct.pack("!BBH", 0x81, 0xFE, len(data))
        self.sock.sendall(head + b"\0\0\0\0" + data)

    def until(self, mark):
        """What came up to and with `mark`."""
        data = self.rest
        while mark not in data:
            got = self.sock.recv(1 << 20)
            assert got, data[-200:]
            data += got
        at = data.index(mark) + len(mark)
        self.rest = data[at:]
        return data[:at]

    def count(self, number):
        mark, seen, tail = b'{"type":"message"', 0, self.rest
        while True:
            seen += tail.count(mark)
            if seen >= number:
                return
            tail = tail[-(len(mark) - 1):] if mark not in tail[-(len(mark) - 1):] else b""
            got = self.sock.recv(1 << 20)
            assert got
            tail += got


def pinger(port, pipe):
    """Another client, in a process of its own: the longest round trip."""
    ws, longest = Ws(port), 0.0
    pipe.send(None)
    while not pipe.poll():
        start = time.monotonic()
        ws.send(type="ping", id=1)
        ws.until(b'"pong"')
        longest = max(longest, time.monotonic() - start)
        time.sleep(0.0005)
    pipe.send(longest)


def timed(sluice, what):
    """CPU seconds of the gateway (with what pings cost), and the longest ping in ms."""
    pipe, end = multiprocessing.Pipe()
    child = multiprocessing.Process(target=pinger, args=(sluice.port, end))
    child.start()
    pipe.recv()
    before = sluice.cpu()
    what()
    took = sluice.cpu() - before
    pipe.send(None)
    longest = pipe.recv()
    child.join()
    return took, longest * 1000


def fill(port, sluice, count, first=0):
    """QoS 0 publishes in one stream, each to a channel of its own."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(bytes([0x10, 13]) + b"\0\4MQTT\4\2\0\0\0\1f")
    sock.recv(4)
    before = sluice.metric("sluice_messages_total")
    for start in range(first, first + count, 2000):
        packets = []
        for i in range(start, min(start + 2000, first + count)):
            topic = b"home/%d/room/%d" % (i // 1000, i)
            packets.append(bytes([0x30]) + varint(2 + len(topic) + len(PAYLOAD)) + struct.pack("!H", len(topic)) + topic + PAYLOAD)
        sock.sendall(b"".join(packets))
        harness.wait_until(lambda: sluice.metric("sluice_messages_total") - before >= start - first - 20000, 60)
    harness.wait_until(lambda: sluice.metric("sluice_messages_total") - before >= count, 300)
    sock.close()


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


def subscribe(ws, channel, **more):
    ws.send(type="subscribe", id=1, channel=channel, **more)
    return ws.until(b'"snapshot":')


def run(binary, directory, count):
    broker = harness.Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
    sluice = harness.Sluice(directory, f"""
broker: {{ url: mqtt://127.0.0.1:{broker.port} }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: 1
routes: [{{ topic: home/# }}]
limits: {{ channels: 2000000, history: 4GiB }}
""")
    try:
        empty = sluice.rss()
        start = time.monotonic()
        fill(broker.port, sluice, count)
        filled = time.monotonic() - start
        print(f"{count} channels: filled in {filled:.1f} s, {(sluice.rss() - empty) / count:.0f} bytes each")
        print(f"  idle            longest ping {timed(sluice, lambda: time.sleep(1))[1]:7.2f} ms")
        ws = Ws(sluice.port)

        def snapshot():
            subscribe(ws, "#")
            ws.count(count)

        took, ping = timed(sluice, snapshot)
        print(f"  snapshot of #   {took / count * 1e6:7.2f} us a channel, longest ping {ping:7.2f} ms")
        cursor = json.loads(sluice.get("/channels/home/0/room/0").text)["cursor"].split(".")[0] + f".{count}"
        fill(broker.port, sluice, 100)

        def resume(channel, number):
            def work():
                for _ in range(100):
                    again = Ws(sluice.port)
                    subscribe(again, channel, cursor=cursor)
                    again.count(number)
                    again.sock.close()
            return work

        plain, plain_ping = timed(sluice, resume("home/0/room/5", 1))
        wild, wild_ping = timed(sluice, resume("#", 100))
        print(f"  resume          plain {plain * 10:.2f} ms (ping {plain_ping:.2f} ms), # {wild * 10:.2f} ms (ping {wild_ping:.2f} ms): "
              f"{wild / plain:.2f} x")
        took, ping = timed(sluice, lambda: sluice.get("/channels", timeout=300))
        print(f"  GET /channels   {took / count * 1e6:7.2f} us a channel, longest ping {ping:7.2f} ms")
        took, ping = timed(sluice, lambda: (ws.send(type="unsubscribe", id=2, channel="#"), ws.until(b'"unsubscribed"')))
        print(f"  unsubscribe     {took * 1e3:7.2f} ms, longest ping {ping:7.2f} ms")

        def reload():
            sluice.signal(signal.SIGHUP)
            time.sleep(1 + count / 250000)

        print(f"  reload          longest ping {timed(sluice, reload)[1]:7.2f} ms", flush=True)
    finally:
        sluice.stop(60)
        broker.end()


def main():
    words = sys.argv[1:]
    binary = words.pop(0) if words and not words[0].isdigit() else str(ROOT / "build/release/sluice")
    os.environ["SLUICE_BINARY"] = binary
    harness.BINARY = binary
    for count in map(int, words or (10000, 100000)):
        with tempfile.TemporaryDirectory() as directory:
            run(binary, pathlib.Path(directory), count)


if __name__ == "__main__":
    main()
