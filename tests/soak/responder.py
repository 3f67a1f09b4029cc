"""The device that answers requests: MQTT 5, at the broker, without proxies."""
import asyncio
import contextlib
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Responder:
    def __init__(self, port):
        self.port, self.client = port, None

    def on_message(self, client, _data, message):
        """With the request's own words, so that whoever asked can see that the answer is his."""
        asked = message.properties
        if not hasattr(asked, "ResponseTopic"):
            return
        properties = Properties(PacketTypes.PUBLISH)
        if hasattr(asked, "CorrelationData"):
            properties.CorrelationData = asked.CorrelationData
        client.publish(asked.ResponseTopic, message.payload, 1, properties=properties)

    async def run(self):
        """A new client whenever the broker is new, as the observer."""
        while True:
            if not self.client or not self.client.is_connected():
                await asyncio.to_thread(self.connect)
            await asyncio.sleep(0.2)

    def connect(self):
        self.drop()
        client = self.client = mqtt.Client(client_id="", protocol=mqtt.MQTTv5)
        client.on_connect = lambda client, *_: client.subscribe("ask/#", 1)
        client.on_message = self.on_message
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
