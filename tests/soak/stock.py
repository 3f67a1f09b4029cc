"""Clients that others have written, as pages use them: socket.io-client in a process of its own, and paho over /mqtt."""
import asyncio
import contextlib
import json
import pathlib
import signal
import subprocess
import threading

import paho.mqtt.client as mqtt
from clients import Client, later
from oracle import matches, parse
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PAGE = pathlib.Path(__file__).with_name("socketio.mjs")
HEALED = ("transport close", "transport error", "ping timeout")  # after these the client comes back by itself
UNACKNOWLEDGED = "soak/q/#"  # published at QoS 0, so an MQTT client gets them at QoS 0


class SocketIoClient(Client):
    """`transports` as the client is configured: websocket, polling, or polling+websocket. `declared`: its channel is in `auth`."""

    def __init__(self, *arguments, transports, declared=False):
        super().__init__(*arguments)
        self.transports, self.declared = transports, declared
        self.child = None

    async def run(self):
        (filter,) = self.position
        words = [filter, *(["declared"] if self.declared else [])]
        self.child = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--", "node", str(PAGE), f"http://127.0.0.1:{self.proxy.port}", self.transports, *words,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, limit=1 << 22)
        freezer = asyncio.ensure_future(self.freeze())
        try:
            while line := await self.child.stdout.readline():
                self.heard(filter, json.loads(line))
        finally:
            freezer.cancel()
        if not self.closing:
            self.oracle.findings.add("the program", f"{self.name}: its page ended")

    async def freeze(self):
        """A page that does not read is a process that does not run."""
        stopped = False
        while True:
            if stopped != self.frozen.is_set():
                stopped = not stopped
                self.signal(signal.SIGSTOP if stopped else signal.SIGCONT)
            await asyncio.sleep(0.05)

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(number)

    def heard(self, filter, line):
        (word, value), = line.items()
        if word == "message":
            self.oracle.message(value)
        elif word == "gap":
            self.oracle.gap(value)
        elif word == "connect":
            self.oracle.resumed()
            self.errors["recovered" if value["recovered"] else "not recovered"] += 1
        elif word == "anew":
            self.oracle.anew(filter)
        elif word in ("upgrade", "failed"):
            self.errors[word] += 1
        elif word == "left" and value in HEALED:
            self.errors["left: " + value] += 1
        elif word == "error" and value["code"] in ("slow_consumer", "going_away"):
            self.errors["error " + value["code"]] += 1
        else: # refused, or the server has left the namespace: the client would not come back
            self.oracle.findings.add("error", f"{self.name}: {line}")

    async def stop(self):
        self.closing = True
        if self.child:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        await super().stop()


class MqttClient(Client):
    """MQTT 5 at QoS 1 with a session that is kept. The cursors that it asks for say what its messages don't."""

    expected = {0x8b, 0x8d, 0x97}  # the gateway stops, nothing came in time, too slow

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.granted = False # the session has the subscription
        self.begun = None    # cursor at which it began; last values are older
        self.client = mqtt.Client(self.name.replace(" ", "-"), protocol=mqtt.MQTTv5, transport="websockets")
        self.client.ws_set_options(path="/mqtt")
        self.client.on_connect, self.client.on_disconnect = self.on_connect, self.on_disconnect
        self.client.on_subscribe, self.client.on_message = self.on_subscribe, self.on_message
        expiry = Properties(PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 600
        self.client.connect_async("127.0.0.1", self.proxy.port, keepalive=4, clean_start=False, properties=expiry)
        self.over = threading.Event()

    async def once(self):
        await asyncio.to_thread(self.blocking)

    def blocking(self):
        client = self.client
        try:
            self.over.clear()
            client.reconnect()
            while not self.closing and not self.over.is_set():
                if self.frozen.is_set():
                    self.over.wait(0.05)
                elif client.loop(0.2):
                    return
        except mqtt.WebsocketConnectionError as error:
            raise OSError(error) from error
        finally:
            client._sock_close()

    def on_connect(self, client, _data, flags, code, _properties):
        if code != 0:
            self.errors[f"CONNACK {code}"] += 1
            self.over.set()
            return
        self.oracle.resumed()
        self.oracle.anew(UNACKNOWLEDGED) # a session keeps none of them
        if flags["session present"] and self.granted:
            self.errors["session kept"] += 1
            return
        (filter,) = self.position
        self.granted, again = False, self.position[filter]
        if not again:
            self.oracle.anew(filter)
        properties = Properties(PacketTypes.SUBSCRIBE)
        properties.UserProperty = ("cursor", again or "last")
        client.subscribe(filter, options=mqtt.SubscribeOptions(qos=1), properties=properties)

    def on_subscribe(self, _client, _data, _mid, codes, properties):
        if codes[0].value != 1:
            self.oracle.findings.add("error", f"{self.name}: SUBACK {codes[0]}")
            return
        (filter,) = self.position
        self.granted, self.begun = True, dict(properties.UserProperty)["cursor"]
        self.position[filter] = self.position[filter] or self.begun

    def on_message(self, _client, _data, message):
        (filter,) = self.position
        properties = dict(message.properties.UserProperty)
        frame = {"channel": message.topic, "cursor": properties["cursor"], "data": json.loads(message.payload)}
        last = self.oracle.last.get(message.topic)
        for name, value in message.properties.UserProperty:
            if name == "gap":
                reason, begin, end, *of = value.split()
                self.oracle.gap({"channel": of[0] if of else message.topic, "reason": reason, "from": begin, "to": end})
        if message.dup and last and parse(frame["cursor"]) <= (last.epoch, last.seq) and parse(frame["cursor"])[0] == last.epoch:
            self.errors["came again, DUP"] += 1 # its acknowledgement was lost
            return
        self.oracle.message(frame)
        if self.begun and (parse(frame["cursor"])[0] != parse(self.begun)[0] or parse(frame["cursor"])[1] > parse(self.begun)[1]):
            self.position[filter] = later(self.position[filter], frame["cursor"])

    def has(self, marks):
        return super().has({channel: n for channel, n in marks.items() if not matches(UNACKNOWLEDGED, channel)})

    def on_disconnect(self, _client, _data, code, _properties):
        self.over.set()
        value = getattr(code, "value", None)
        if value is not None:
            self.errors[f"DISCONNECT 0x{value:02x}"] += 1
            if value not in self.expected:
                self.oracle.findings.add("close code", f"{self.name}: DISCONNECT {code}")

    async def stop(self):
        await super().stop()
        with contextlib.suppress(Exception):
            self.client._sock_close()
