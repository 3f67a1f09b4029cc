"""MQTT clients for the tests of the gateway's MQTT side: Paho over WebSocket or TCP, and bytes that no stock client sends."""
import socket
import struct

import paho.mqtt.client as mqtt
import pytest
from harness import wait_until
from paho.mqtt.properties import Properties

BOTH = pytest.mark.parametrize("version", [mqtt.MQTTv311, mqtt.MQTTv5], ids=["3.1.1", "5.0"])


class Paho:
    """A stock client over WebSocket that remembers what happened."""

    def __init__(self, gateway, version=mqtt.MQTTv5, client_id="", user=None, password=None, path="/mqtt", keepalive=30, headers=None,
                 clean=True, will=None, properties=None,
                 transport="websockets", port=None):
        self.messages, self.subacks, self.unsubacks, self.published, self.events = [], {}, {}, {}, []
        arguments = {} if version == mqtt.MQTTv5 else {"clean_session": clean}
        self.version = version
        self.client = client = mqtt.Client(client_id=client_id, protocol=version, transport=transport, reconnect_on_failure=False,
                                           **arguments)
        if transport == "websockets":
            client.ws_set_options(path, headers)
        if password is not None or user is not None:
            client.username_pw_set(user, password)
        if will:
            client.will_set(*will)
        client.on_connect = lambda _c, _u, flags, code, *rest: self.events.append(("connect", int(getattr(code, "value", code)), flags, rest))
        client.on_disconnect = lambda _c, _u, code, *rest: self.events.append(("disconnect", int(getattr(code, "value", code)), rest))
        client.on_message = lambda _c, _u, message: self.messages.append(message)
        client.on_subscribe = lambda _c, _u, mid, codes, *rest: self.subacks.__setitem__(mid, ([int(getattr(c, "value", c)) for c in codes], rest))
        client.on_unsubscribe = lambda _c, _u, mid, *rest: self.unsubacks.__setitem__(mid, rest)
        arguments = {"clean_start": clean, "properties": properties} if version == mqtt.MQTTv5 else {}
        client.connect("127.0.0.1", port or gateway.port, keepalive, **arguments)
        client.loop_start()

    def event(self, kind):
        return wait_until(lambda: next((event for event in self.events if event[0] == kind), None), what=kind)

    def connected(self):
        code = self.event("connect")[1]
        assert code == 0, code
        return self

    def subscribe(self, *args, **kwargs):
        """The codes of the SUBACK."""
        _, mid = self.client.subscribe(*args, **kwargs)
        return wait_until(lambda: self.subacks.get(mid), what="SUBACK")[0]

    def unsubscribe(self, topic):
        _, mid = self.client.unsubscribe(topic)
        return wait_until(lambda: self.unsubacks.get(mid) is not None and self.unsubacks, what="UNSUBACK")[mid]

    def publish(self, topic, payload, qos, **kwargs):
        info = self.client.publish(topic, payload, qos, **kwargs)
        info.wait_for_publish(15)
        assert info.is_published()

    def got(self, topic):
        return [message.payload for message in self.messages if message.topic == topic]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(value)) + value


def packet(first, body):
    length, left = b"", len(body)
    while True:
        length += bytes([left & 127 | (128 if left > 127 else 0)])
        left >>= 7
        if not left:
            return bytes([first]) + length + body


class Raw:
    """Bytes in WebSocket frames, for what no stock client does."""

    def __init__(self, gateway, path="/mqtt", headers="", protocol="mqtt"):
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), 15)
        self.frames, self.packets, self.closed = b"", b"", None
        self.socket.sendall((f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             f"Sec-WebSocket-Protocol: {protocol}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n").encode())
        while b"\r\n\r\n" not in self.frames:
            self.read()
        self.head, self.frames = self.frames.split(b"\r\n\r\n", 1)
        assert self.head.startswith(b"HTTP/1.1 101"), self.head

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def read(self):
        more = self.socket.recv(65536)
        if not more:
            raise EOFError
        self.frames += more

    def frame(self, payload, opcode=2, last=True):
        size = len(payload)
        head = bytes([0x80 * last | opcode]) + (bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size) if size < 65536 else
                                         b"\xff" + struct.pack(">Q", size))
        self.socket.sendall(head + b"\0\0\0\0" + payload)

    def send(self, first, body=b""):
        self.frame(packet(first, body))

    def next_frame(self):
        while True:
            size = self.frames[1] & 127 if len(self.frames) > 1 else 0
            skip = 4 if size == 126 else 10 if size == 127 else 2
            if len(self.frames) >= skip:
                if size >= 126:
                    size = int.from_bytes(self.frames[2:skip], "big")
                if len(self.frames) >= skip + size:
                    opcode, payload = self.frames[0] & 15, self.frames[skip:skip + size]
                    self.frames = self.frames[skip + size:]
                    return opcode, payload
            self.read()

    def receive(self):
        """The next packet: its first byte and what follows the length. None: the gateway closed the WebSocket."""
        while True:
            length, shift = 0, 0
            for at, byte in enumerate(self.packets[1:5], 1):
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    if len(self.packets) >= at + 1 + length:
                        first, body = self.packets[0], self.packets[at + 1:at + 1 + length]
                        self.packets = self.packets[at + 1 + length:]
                        return first, body
                    break
            opcode, payload = self.next_frame()
            if opcode == 8:
                self.closed = int.from_bytes(payload[:2], "big"), payload[2:].decode()
                return None
            if opcode == 2:
                self.packets += payload

    def connect(self, version=5, flags=2, client_id="", properties=b"", rest=b"", keepalive=0):
        body = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keepalive)
        if version == 5:
            body += bytes([len(properties)]) + properties
        self.send(0x10, body + text(client_id) + rest)
        first, answer = self.receive()
        assert first == 0x20 and answer[1] == 0, answer
        return answer


def properties(kind, **values):
    it = Properties(kind)
    for name, value in values.items():
        setattr(it, name, value)
    return it
