"""A broker for what mosquitto can't be made to do: it says what a test wants said, and remembers what it was sent.

The packets are MQTT 3.1.1 and 5.0 by their specifications; the properties are packed and unpacked by paho.
Subclass it and override `connect`, `subscribe`, `publish`, or give it CONNACK properties; with `context` it speaks TLS, and never says goodbye.
"""
import contextlib
import socket
import struct
import threading

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import free_port


def properties(kind, **values):
    made = Properties(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made.pack()


def text(data, at):
    end = at + 2 + struct.unpack_from("!H", data, at)[0]
    return data[at + 2:end].decode(), end


class Connection:
    def __init__(self, broker, sock):
        self.broker, self.sock, self.level = broker, sock, 5

    def read(self, count):
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def packet(self):
        first, length, shift = self.read(1)[0], 0, 0
        while True:
            byte = self.read(1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return first, self.read(length)

    def send(self, first, body=b""):
        length, left = b"", len(body)
        while True:
            length += bytes([left % 128 | (128 if left > 127 else 0)])
            left //= 128
            if not left:
                break
        self.sock.sendall(bytes([first]) + length + body)

    def props(self, kind, **values):
        return properties(kind, **values) if self.level == 5 else b""

    def unpack(self, kind, data, at):
        if self.level < 5:
            return {}, at
        got = Properties(kind)
        _, used = got.unpack(data[at:])
        return got.json(), at + used

    def connack(self, code=0, present=0, **values):
        self.send(0x20, bytes([present, code]) + self.props(PacketTypes.CONNACK, **values))

    def disconnect(self, code, **values):
        self.send(0xE0, bytes([code]) + properties(PacketTypes.DISCONNECT, **values))
        self.close()

    def suback(self, mid, codes, **values):
        self.send(0x90, struct.pack("!H", mid) + self.props(PacketTypes.SUBACK, **values) + bytes(codes))

    def puback(self, mid, code=0, **values):
        rest = bytes([code]) + properties(PacketTypes.PUBACK, **values) if self.level == 5 else b""
        self.send(0x40, struct.pack("!H", mid) + rest)

    def publish(self, topic, payload, retain=False, **values):
        name = topic.encode()
        self.send(0x30 | retain, struct.pack("!H", len(name)) + name + self.props(PacketTypes.PUBLISH, **values) + payload)

    def close(self, reset=False):
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            if not reset:
                self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        raise ConnectionError

    def run(self):
        with contextlib.suppress(OSError, ConnectionError):
            if self.broker.context:
                self.sock = self.broker.context.wrap_socket(self.sock, server_side=True)
            while True:
                self.handle(*self.packet())
        with contextlib.suppress(OSError):
            self.sock.close()

    def handle(self, first, body):
        kind, broker = first >> 4, self.broker
        if kind == 1:
            _, at = text(body, 0)
            self.level, flags, keepalive = struct.unpack_from("!BBH", body, at)
            props, at = self.unpack(PacketTypes.CONNECT, body, at + 4)
            client_id, at = text(body, at)
            broker.connects.append({"level": self.level, "flags": flags, "keepalive": keepalive, "id": client_id, **props})
            broker.connect(self)
        elif kind == 3:
            topic, at = text(body, 0)
            qos, mid = first >> 1 & 3, 0
            if qos:
                mid, at = struct.unpack_from("!H", body, at)[0], at + 2
            props, at = self.unpack(PacketTypes.PUBLISH, body, at)
            packet = {"topic": topic, "payload": body[at:], "qos": qos, "retain": first & 1, "dup": first >> 3 & 1,
                      "mid": mid, "size": len(body), "props": props}
            broker.publishes.append(packet)
            broker.publish(self, packet)
        elif kind == 6:
            broker.pubrel(self, struct.unpack_from("!H", body)[0])
        elif kind == 8:
            props, at = self.unpack(PacketTypes.SUBSCRIBE, body, 2)
            filters = []
            while at < len(body):
                name, at = text(body, at)
                filters.append((name, body[at]))
                at += 1
            packet = {"mid": struct.unpack_from("!H", body)[0], "filters": filters, "props": props}
            broker.subscribes.append(packet)
            broker.subscribe(self, packet)
        elif kind == 10:
            count = body.count(b"/") or 1
            self.send(0xB0, body[:2] + self.props(PacketTypes.UNSUBACK) + bytes(count if self.level == 5 else 0))
        elif kind == 12:
            broker.ping(self)
        elif kind == 14:
            self.close()


class FakeBroker:
    def __init__(self, port=0, context=None, **connack):
        self.answer = connack
        self.connects, self.subscribes, self.publishes, self.connections = [], [], [], []
        self.context = context
        # Never one from those of connections: what ends and comes back must find its port free.
        self.listener = socket.create_server(("127.0.0.1", port or free_port()))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                connection = Connection(self, sock)
                self.connections.append(connection)
                threading.Thread(target=connection.run, daemon=True).start()

    def connect(self, c):
        c.connack(**(self.answer if c.level == 5 else {}))

    def subscribe(self, c, packet):
        c.suback(packet["mid"], [min(options & 3, 1) for _, options in packet["filters"]])

    def publish(self, c, packet):
        if packet["qos"] == 1:
            c.puback(packet["mid"])
        elif packet["qos"] == 2:
            c.send(0x50, struct.pack("!H", packet["mid"]))

    def pubrel(self, c, mid):
        c.send(0x70, struct.pack("!H", mid))

    def ping(self, c):
        c.send(0xD0)

    def levels(self):
        return [connect["level"] for connect in self.connects]

    def cut(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def end(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
