"""Peers of the transports that send and do not read, in every state in which such a connection reads: they are held up or cut off,
and nothing is buffered without bound. The states of HTTP and /ws are in test_field_http.py."""
import json
import socket
import ssl

import pytest
from conftest import World, yaml
from harness import SANITIZED
from mqttclients import packet, text
from test_field_http import GROWTH_BYTES, KERNEL_BYTES, connect_to, mask
from tlsfiles import certificate, ports as ports_of, with_listeners
from websockets.frames import Opcode

pytestmark = pytest.mark.memory

LIMITS = "limits: { message_rate: 0, publish_rate: 1000000, queue: 256KiB, publishes_per_session: 1000 }\n"


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """HTTP, HTTPS, MQTT and MQTT over TLS, and deadlines that end no flood."""
    world = World(tmp_path_factory.mktemp("floods"))
    files = certificate(world.directory, "floods")
    broker = world.broker()
    client = world.mqtt(broker.port)
    client.publish("rooms/big/t", b"\xff\xd8\xff\xe0" + bytes(200_000), retain=True)
    extra = (LIMITS + "web: { keepalive: 5m, request_timeout: 5m }\nmqtt: { path: /mqtt }\n"
             "socketio: { ping_interval: 5m, ping_timeout: 5m, connect_timeout: 5m }\n")
    tls = f"    tls: {{ cert_file: {files[0]}, key_file: {files[1]} }}\n"
    listeners = "".join(f"  - address: 127.0.0.1:0\n{more}" for more in (tls, "    protocol: mqtt\n", "    protocol: mqtt\n" + tls))
    gateway = world.sluice(with_listeners(yaml(broker.port, extra=extra), listeners))
    yield gateway, ports_of(gateway)
    world.end()


def upgrade(path, protocol=""):
    return (f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n{protocol}"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").encode()


def octets(data):
    return mask(data, Opcode.BINARY)


CONNECT = packet(0x10, text("MQTT") + b"\x05\x02\0\0\0" + text(""))
PINGREQ = packet(0xc0, b"")
SUBSCRIBE = packet(0x82, b"\0\1\0" + text("rooms/#") + b"\1")
PUBLISH = packet(0x32, text("no/such/channel") + b"\0\1\0" + b"x" * 100)
QOS_2 = packet(0x34, text("no/such/channel") + b"\0\1\0" + b"x" * 100)
LARGE = b"\x30\xff\xff\xff\x7f" + text("rooms/a/t")
MQTT = upgrade("/mqtt", "Sec-WebSocket-Protocol: mqtt\r\n")
WEBSOCKET = upgrade("/socket.io/?EIO=4&transport=websocket")
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def handshake(gateway):
    answer = gateway.get("/socket.io/?EIO=4&transport=polling").text
    sid = json.loads(answer[1:])["sid"]
    assert gateway.post(f"/socket.io/?EIO=4&transport=polling&sid={sid}", data="40").text == "ok"
    return sid


def posted(gateway, body):
    path = f"/socket.io/?EIO=4&transport=polling&sid={handshake(gateway)}"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def held(gateway):
    sid = handshake(gateway)
    gateway.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}") # the answer to CONNECT; the next one waits
    return f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def probing(gateway):
    return upgrade(f"/socket.io/?EIO=4&transport=websocket&sid={handshake(gateway)}")


STREAM = b"GET /channels/rooms/big/t/raw?stream=mjpeg HTTP/1.1\r\nHost: x\r\n\r\n"
PICTURE = b"GET /channels/rooms/big/t/raw HTTP/1.1\r\nHost: x\r\n\r\n"
# By state: whether the connection is one of MQTT without HTTP, what comes first, and what then comes for ever.
FLOODS = {
    "mqtt, before CONNECT": (True, b"", b"\x10\xff\x7f" + bytes(32000)),
    "mqtt, pings not read": (True, CONNECT, PINGREQ * 4000),
    "mqtt, SUBACK and snapshots not read": (True, CONNECT, SUBSCRIBE * 500),
    "mqtt, PUBACK not read": (True, CONNECT, PUBLISH * 400),
    "mqtt, PUBREC not read": (True, CONNECT, QOS_2 * 400),
    "mqtt, a packet that never ends": (True, CONNECT + LARGE, b"x" * 65536),
    "mqtt over websocket, before CONNECT": (False, MQTT, octets(b"\x10") * 8000),
    "mqtt over websocket, pings not read": (False, MQTT + octets(CONNECT), octets(PINGREQ) * 4000),
    "mqtt over websocket, PUBACK not read": (False, MQTT + octets(CONNECT), octets(PUBLISH * 50) * 8),
    "mqtt over websocket, a packet that never ends": (False, MQTT + octets(CONNECT + LARGE), octets(b"x" * 60000)),
    "socket.io, before CONNECT": (False, WEBSOCKET, mask(b"3") * 8000),
    "socket.io, acknowledgements not read": (False, WEBSOCKET + mask(b"40"), mask(b'421["nonsense","x"]') * 2000),
    "socket.io, snapshots not read": (False, WEBSOCKET + mask(b"40"), mask(b'421["subscribe","rooms/#"]') * 1000),
    "socket.io, errors not read": (False, WEBSOCKET + mask(b"40"), mask(b'42["publish","no/such","x"]') * 1000),
    "socket.io, attachments that never come": (False, WEBSOCKET + mask(b"40") + mask(b'459-["publish","a",{"_placeholder":true,"num":0}]'),
                                               octets(b"x" * 60000)),
    "socket.io, a probe": (False, probing, mask(b"2probe") * 4000),
    "socket.io, a poll that waits": (False, held, GET * 500),
    "socket.io, bodies of which nobody polls the answers": (False, b"", lambda gateway: posted(gateway, '421["nonsense"]\x1e' * 500 + "3") * 20),
    "a stream of pictures": (False, STREAM, GET * 500),
    "pictures not read": (False, b"", PICTURE * 200),
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("name", FLOODS)
def test_flood(doors, name, secure):
    gateway, ports = doors
    bare, first, then = FLOODS[name]
    first, then = (part(gateway) if callable(part) else part for part in (first, then))
    before, accepted = gateway.rss(), 0
    with connect_to(ports[2:] if bare else ports, secure) as one:
        one.sendall(first)
        one.settimeout(0.5)
        try:
            while accepted < 2 * KERNEL_BYTES:
                accepted += one.send(then)
        except (OSError, ssl.SSLError):
            pass # held up, or closed
        grown = gateway.rss() - before
        # Where each packet is dealt with and has no answer there is nothing to bound but the memory.
        assert SANITIZED or grown < GROWTH_BYTES, f"{grown} bytes more after {accepted}"
    assert gateway.get("/healthz").status_code == 200
    with socket.create_connection(("127.0.0.1", ports[2]), 10) as other: # nor is anybody else held up
        other.sendall(CONNECT)
        assert other.recv(1) == b"\x20"
