"""Stock MQTT clients at the broker itself, without proxies, that come back whenever the broker does."""
import asyncio
import contextlib
import time

import paho.mqtt.client as mqtt


class AtBroker:
    """Subclasses have `filter`, `protocol` and on_message(), and may have on_subscribe() and on_disconnect()."""

    protocol = mqtt.MQTTv311
    on_subscribe = on_disconnect = None

    def __init__(self, port):
        self.port, self.client = port, None

    async def run(self):
        """A new client whenever the broker is new. (A kept one would do the same, but paho waits longer and longer.)"""
        while True:
            if not self.client or not self.client.is_connected():
                await asyncio.to_thread(self.connect)
            await asyncio.sleep(0.2)

    def connect(self):
        self.drop()
        client = self.client = mqtt.Client(client_id="", protocol=self.protocol)
        client.on_connect = lambda client, *_: client.subscribe(self.filter, 1)
        client.on_subscribe, client.on_disconnect, client.on_message = self.on_subscribe, self.on_disconnect, self.on_message
        try:
            client.connect("127.0.0.1", self.port, 60)
        except OSError:
            return
        client.loop_start()
        end = time.monotonic() + 20
        while not client.is_connected() and time.monotonic() < end:
            time.sleep(0.02)

    def drop(self):
        client, self.client = self.client, None
        if client:
            with contextlib.suppress(Exception):
                client.disconnect()
            client.loop_stop()
