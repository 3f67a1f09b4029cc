"""The device that answers requests: MQTT 5, at the broker, without proxies."""
import paho.mqtt.client as mqtt
from atbroker import AtBroker
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Responder(AtBroker):
    filter = "ask/#"
    protocol = mqtt.MQTTv5

    def on_message(self, client, _data, message):
        """With the request's own words, so that whoever asked can see that the answer is his."""
        asked = message.properties
        if not hasattr(asked, "ResponseTopic"):
            return
        properties = Properties(PacketTypes.PUBLISH)
        if hasattr(asked, "CorrelationData"):
            properties.CorrelationData = asked.CorrelationData
        client.publish(asked.ResponseTopic, message.payload, 1, properties=properties)
