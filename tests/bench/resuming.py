#!/usr/bin/env python3
"""What resuming costs: CPU of the gateway for each missed message, on /ws and in kept MQTT sessions, in turn.

CLIENTS of each kind are away while MESSAGES of 100 bytes come in. Then one after the other returns, takes all, and
leaves. An MQTT client acknowledges what one read has brought in one write. What coming back costs where nothing was
missed is left out.

  resuming.py [CLIENTS [MESSAGES [ROUNDS]]]
"""
import pathlib
import socket
import statistics
import struct
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import harness  # noqa: E402

MARK = b"#mark#"


def cpu(sluice):
    """Seconds, of all threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{sluice.child.pid}/task").iterdir()) / 1e9


def frame(opcode, data):
    return bytes([0x80 | opcode, 0x80 | len(data)]) + bytes(4) + data


class Client:
    """A WebSocket that reads whole frames."""

    def __init__(self, port, path, protocol=""):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(20)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n".encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            self.rest += self.socket.recv(65536)
        self.rest = self.rest.split(b"\r\n\r\n", 1)[1]

    def frames(self):
        """All that are there; waits for one."""
        while True:
            found, at = [], 0
            while len(self.rest) - at >= 2:
                size, head = self.rest[at + 1], 2
                if size == 126:
                    if len(self.rest) - at < 4:
                        break
                    size, head = struct.unpack_from(">H", self.rest, at + 2)[0], 4
                if len(self.rest) - at < head + size:
                    break
                found.append(self.rest[at + head:at + head + size])
                at += head + size
            self.rest = self.rest[at:]
            if found:
                return found
            self.rest += self.socket.recv(65536)

    def close(self):
        self.socket.close()


class Ws:
    title = "/ws"

    def __init__(self, port, number):
        self.port, self.cursor = port, None

    def visit(self, missed):
        """Comes back, takes so many messages, leaves."""
        client = Client(self.port, "/ws")
        cursor = f',"cursor":"{self.cursor}"' if self.cursor else ""
        client.socket.sendall(frame(1, b'{"type":"subscribe","channel":"bench/a"%s}' % cursor.encode()))
        ready = False
        while not ready or missed > 0:
            for text in client.frames():
                ready |= text.startswith(b'{"type":"subscribed"')
                missed -= MARK in text
                at = text.rfind(b'"cursor":"')
                if at >= 0:
                    self.cursor = text[at + 10:].split(b'"', 1)[0].decode()
        client.close()


class Kept:
    qos = 0
    title = "MQTT, QoS 0"

    def __init__(self, port, number):
        self.port, self.name, self.known = port, f"{type(self).__name__}{number}".encode(), False

    def visit(self, missed):
        client = Client(self.port, "/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n")
        client.socket.sendall(frame(2, bytes([0x10, 12 + len(self.name)]) + b"\0\4MQTT\4\0\0\0" + struct.pack(">H", len(self.name)) + self.name))
        if not self.known:
            client.socket.sendall(frame(2, b"\x82\x0c\0\1\0\7bench/a" + bytes([self.qos])))
        self.known = True
        while missed > 0:
            acks = b""
            for packet in client.frames():
                missed -= MARK in packet
                if packet[0] & 0xf2 == 0x32:
                    at = 2 if packet[1] < 128 else 3
                    topic = struct.unpack_from(">H", packet, at)[0]
                    acks += frame(2, b"\x40\2" + packet[at + 2 + topic:at + 4 + topic])
            if acks:
                client.socket.sendall(acks)
        client.socket.sendall(frame(2, b"\xe0\0") + frame(8, b"\x03\xe8"))
        while client.socket.recv(65536):
            pass
        client.close()


class Qos1(Kept):
    qos = 1
    title = "MQTT, QoS 1"


def measure(sluice, clients, missed):
    before = cpu(sluice)
    for client in clients:
        client.visit(missed)
    return (cpu(sluice) - before) / len(clients)


def publish(broker, sluice, messages):
    before = sluice.metric("sluice_messages_total")
    device = harness.Mqtt(broker.port)
    try:
        for i in range(messages):
            device.client.publish("bench/a", f'{{"mark":"{MARK.decode()}","number":{i:06},"temperature":21.5,"humidity":40,"battery":97,"linkquality":9}}', 1)
        harness.wait_until(lambda: sluice.metric("sluice_messages_total") >= before + messages, 60)
    finally:
        device.close()


def compare(broker, directory, count, messages, rounds):
    """{kind: [us a message]}"""
    kinds, results = [Ws, Kept, Qos1], {}
    sluice = harness.Sluice(directory, f"""
broker: {{ url: mqtt://127.0.0.1:{broker.port} }}
listen: [{{ address: 127.0.0.1:0 }}]
workers: 1
mqtt: true
routes: [{{ topic: bench/+, qos: 1, history: {{ count: {messages} }} }}]
""")
    try:
        publish(broker, sluice, 1)
        clients = {kind: [kind(sluice.port, number) for number in range(count)] for kind in kinds}
        for kind in kinds:
            measure(sluice, clients[kind], 1)
        for round_ in range(rounds):
            order = kinds[round_ % 3:] + kinds[:round_ % 3]
            nothing = {kind: measure(sluice, clients[kind], 0) for kind in order}
            publish(broker, sluice, messages)
            for kind in order:
                each = (measure(sluice, clients[kind], messages) - nothing[kind]) / messages
                results.setdefault(kind, []).append(each * 1e6)
    finally:
        sluice.end()
    return results


def main():
    count, messages, rounds = [int(argument) for argument in sys.argv[1:]] + [50, 1000, 5][len(sys.argv) - 1:]
    with tempfile.TemporaryDirectory() as directory:
        broker = harness.Broker(directory, config="allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0")
        try:
            results = compare(broker, directory, count, messages, rounds)
        finally:
            broker.end()
    floor = statistics.median(results[Ws])
    for kind, each in results.items():
        middle = statistics.median(each)
        print(f"{kind.title:12} {middle:.3f} us a message ({min(each):.3f} to {max(each):.3f}), {middle / floor:.2f} x /ws")


if __name__ == "__main__":
    main()
