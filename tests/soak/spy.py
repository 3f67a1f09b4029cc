"""Reads the MQTT that passes between the broker and a gateway: what the broker sent, and what the gateway acknowledged.
That, and not a guess from times, is what the oracle goes by.
"""
import json
import time


class Truth:
    """What one gateway must have, over all of its lives (a life is one process, so one epoch)."""

    def __init__(self, name):
        self.name = name
        self.life = 0
        self.kept = False # the broker keeps its session
        self.epochs = {}   # epoch: life
        self.acked = {}    # channel: {n: life in which the gateway took it}
        self.seqs = {}     # (life, channel): {n: number of the cursor}
        self.links = []    # connections to the broker: those open, and those that the oracle has not seen the end of
        self.opened = 0    # ... and how many there have been
        self.sessions = {} # life of the broker: when the gateway first subscribed in it
        self.pending = {}  # (life, packet id): (channel, n) sent and not acknowledged
        self.packets = 0

    def note_seen(self, life, channel, n, seq):
        self.seqs.setdefault((life, channel), {}).setdefault(n, seq)
        self.acked.setdefault(channel, {}).setdefault(n, life)

    def has(self, life, channel, n):
        return n in self.seqs.get((life, channel), ()) or self.acked.get(channel, {}).get(n) == life


class Spy:
    """One connection. `feed` is called with the bytes of either direction."""

    def __init__(self, truth):
        self.truth = truth
        self.life = truth.life
        self.buffers = {"up": bytearray(), "down": bytearray()}
        self.begin = time.monotonic()
        self.subscribed = None # when the broker answered the subscription
        self.end = None
        self.last = {}         # channel: highest n acknowledged on this connection
        self.judged = {}       # channel: highest n that the oracle has looked at
        self.version = 5
        truth.links.append(self)
        truth.opened += 1

    def closed(self):
        self.end = time.monotonic()

    def feed(self, direction, data):
        buffer = self.buffers[direction]
        buffer += data
        while len(buffer) >= 2:
            length, shift, at = 0, 0, 1
            while at < len(buffer):
                length |= (buffer[at] & 0x7F) << shift
                shift += 7
                at += 1
                if not buffer[at - 1] & 0x80:
                    break
            else:
                return
            if len(buffer) < at + length:
                return
            self.packet(direction, buffer[0], bytes(buffer[at:at + length]))
            del buffer[:at + length]

    def packet(self, direction, first, body):
        self.truth.packets += 1
        kind = first >> 4
        if direction == "down" and kind == 9 and self.subscribed is None:
            self.subscribed = time.monotonic()
        elif direction == "down" and kind == 3:
            self.published(first, body)
        elif direction == "up" and kind == 1:
            self.version = body[2 + int.from_bytes(body[:2], "big")]
        elif direction == "up" and kind in (4, 7): # PUBACK, PUBCOMP: the gateway has taken it
            key = (self.life, int.from_bytes(body[:2], "big"))
            self.acknowledged(self.truth.pending.pop(key, None))

    def published(self, first, body):
        end = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:end].decode()
        qos = first >> 1 & 3
        pid = None
        if qos:
            pid = int.from_bytes(body[end:end + 2], "big")
            end += 2
        if self.version == 5:
            length, shift = 0, 0
            while True:
                byte = body[end]
                length |= (byte & 0x7F) << shift
                shift += 7
                end += 1
                if not byte & 0x80:
                    break
            end += length
        if not topic.startswith("soak/"):
            if pid is not None:
                self.truth.pending.pop((self.life, pid), None)
            return
        n = json.loads(body[end:])["n"]
        if pid is not None:
            self.truth.pending[(self.life, pid)] = (topic, n)

    def acknowledged(self, message):
        # Those come twice, by two filters, and one copy is not enough.
        if message and not message[0].startswith(("soak/s/", "soak/o/")):
            channel, n = message
            self.truth.acked.setdefault(channel, {})[n] = self.life
            self.last[channel] = max(self.last.get(channel, 0), n)
