"""Kept sessions while messages come in without a rest: clients leave in the middle of everything, come back before they are missed, and get all."""
import random
import struct
import threading

import pytest
from conftest import yaml
from mqttclients import Raw, packet, text

TOPIC, MESSAGES, CLIENTS = "rooms/storm/t", 120, 6

pytestmark = pytest.mark.memory


class Restless:
    """One session. Numbers that it has, in the order of each visit."""

    def __init__(self, gateway, number):
        self.gateway, self.random = gateway, random.Random(number)
        self.name, self.version, self.known = f"restless{number}", 4 + number % 2, False
        self.window = [2, 6, 20][number % 3] if self.version == 5 else 1000
        self.seen, self.start = set(), None

    def visit(self):
        raw = Raw(self.gateway)
        more = b"\x11\0\0\2\x58\x21" + struct.pack(">H", self.window) if self.version == 5 else b""
        raw.connect(self.version, flags=0, client_id=self.name, properties=more)
        if not self.known: # what is sent is heard, even if nobody waits for the answer
            options = b"\x21" if self.version == 5 else b"\1"
            raw.send(0x82, b"\0\1" + (b"\0" if self.version == 5 else b"") + text(TOPIC) + options)
        under_way, last = [], -1
        for _ in range(self.random.randint(1, 20)):
            raw.send(0xc0)
            while (received := raw.receive())[0] != 0xd0:
                first, body = received
                self.known |= first == 0x90
                if first >> 4 != 3:
                    continue
                at = 2 + len(TOPIC)
                id, number = body[at:at + 2], int(body[at + 2 + (self.version == 5):].rstrip(b"x"))
                assert first & 6 == 2 and id != b"\0\0" and id not in under_way, self.name
                under_way.append(id)
                assert len(under_way) <= self.window and number > last, (self.name, number, last)
                last = number
                self.start = number if self.start is None else self.start
                self.seen.add(number)
            acknowledged = under_way[:self.random.randint(0, len(under_way))]
            under_way = under_way[len(acknowledged):]
            raw.frame(b"".join(packet(0x40, id) for id in acknowledged))
        if self.random.random() < 0.3: # as a lost network does
            raw.socket.setsockopt(1, 13, struct.pack("ii", 1, 0)) # SOL_SOCKET, SO_LINGER
        raw.socket.close()


def test_nothing_is_lost(shared):
    routes = f"  - topic: rooms/+/t\n    history: {{ count: {2 * MESSAGES} }}\n"
    gateway = shared.sluice(yaml(shared.main_broker.port, routes=routes, extra="mqtt: {}\n"))
    clients, errors = [Restless(gateway, number) for number in range(CLIENTS)], []
    for client in clients:
        while not client.known:
            client.visit()
    published = threading.Event()

    def live(client):
        try:
            while not published.is_set() or client.start is None or max(client.seen) < MESSAGES - 1:
                client.visit()
        except Exception as error: # noqa: BLE001
            errors.append(error)
    threads = [threading.Thread(target=live, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    device, chance = shared.client, random.Random(1)
    try:
        infos = []
        for number in range(MESSAGES):
            infos.append(device.client.publish(TOPIC, f"{number}" + "x" * chance.choice([0, 0, 300]), 1))
            if number % 20 == 19:
                infos[-1].wait_for_publish(15)
    finally:
        published.set()
        for thread in threads:
            thread.join(60)
    assert not errors and not any(thread.is_alive() for thread in threads)
    for client in clients:
        assert client.start == 0 and client.seen == set(range(MESSAGES)), client.name
