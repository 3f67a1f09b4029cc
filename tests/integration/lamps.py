"""Devices on a stock MQTT client that answer as Zigbee2MQTT, Tasmota and Shelly do, or late, in parts, twice, wrongly and never."""
import json
import threading

import paho.mqtt.client as mqtt


class Devices:
    """Each does what its name says with every command."""

    def __init__(self, port):
        self.client = mqtt.Client(client_id="", protocol=mqtt.MQTTv311, **version())
        self.port, self.commands, self.state, self.timers = port, [], {}, []
        self.ready = threading.Event()
        self.client.on_message = self.on_message
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(10)

    def say(self, topic, value, retain=False):
        self.client.publish(topic, value if isinstance(value, str) else json.dumps(value), 1, retain)

    def on_message(self, _client, _data, message):
        levels, payload = message.topic.split("/"), message.payload.decode()
        if levels[-1] in ("set", "command") or levels[0] == "cmnd":
            self.commands.append((message.topic, payload))
            getattr(self, {"cmnd": "tasmota", "shellies": "shelly"}.get(levels[0], "zigbee"))(levels, payload)

    def tasmota(self, levels, payload):
        value = payload.upper()
        self.say(f"stat/{levels[1]}/RESULT", {"POWER": value})
        self.say(f"stat/{levels[1]}/POWER", value)

    def shelly(self, levels, payload):
        self.say("/".join(levels[:-1]), payload)

    def zigbee(self, levels, payload):
        name, topic, wanted = levels[1], "/".join(levels[:2]), json.loads(payload)
        if isinstance(wanted, dict):  # such as zigbee-herdsman: words in capitals, and no `transition` in the state
            wanted = {key: value.upper() if isinstance(value, str) else value for key, value in wanted.items()
                      if key != "transition"}
        whole = self.state.setdefault(topic, {"state": "OFF", "brightness": 0, "linkquality": 90})
        if name.startswith("never"):
            return
        if name.startswith("late"):
            timer = threading.Timer(0.3, lambda: (whole.update(wanted), self.say(topic, whole)))
            timer.daemon = True
            timer.start()
        elif name.startswith("parts"):
            for key, value in wanted.items():
                self.say(topic, {key: value})
        elif name.startswith("half"):
            self.say(topic, dict(whole, state=wanted["state"]))
        elif name.startswith("wrong"):
            self.say(topic, whole)
        elif name.startswith("jump"):  # does it, and takes it back at once
            self.say(topic, dict(whole, **wanted))
            self.say(topic, whole)
        elif name.startswith("stored"):
            self.say(topic, dict(whole, **wanted), retain=True)
        elif name.startswith("rounds"):
            self.say(topic, round(wanted * 2) / 2)
        else:
            whole.update(wanted)
            for _ in range(2 if name.startswith("twice") else 1):
                self.say(topic, whole)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def version():
    return {"callback_api_version": mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, "CallbackAPIVersion") else {}
