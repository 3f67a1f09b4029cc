#!/usr/bin/env python3
"""Device simulators: what a small house says over MQTT, and how it reacts to commands.

Shapes of Zigbee2MQTT, Tasmota, Shelly (second generation) and ESPHome. Stock paho-mqtt, no knowledge of Sluice.
"""
import argparse
import json
import pathlib
import random
import signal
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


class Walk:
    """A value that wanders slowly between bounds."""

    def __init__(self, value, low, high, step):
        self.value, self.low, self.high, self.step = value, low, high, step

    def next(self, digits=1):
        self.value = min(self.high, max(self.low, self.value + random.uniform(-self.step, self.step)))
        return round(self.value, digits)


class Device:
    topics = ()  # what it listens to

    def __init__(self, name):
        self.name = name

    def start(self, client):
        """Says what is retained."""

    def tick(self, client):
        """Says what is new; called every `every` seconds."""

    def command(self, client, topic, payload):
        """Reacts to a command."""

    def report(self):
        """Its answer to a request."""
        return {}


def on_off(payload, now):
    word = payload.decode("utf-8", "replace").strip().upper()
    return {"ON": True, "1": True, "TRUE": True, "OFF": False, "0": False, "FALSE": False, "TOGGLE": not now}.get(word)


class ZigbeeLamp(Device):
    every = 12

    def __init__(self, name):
        super().__init__(name)
        self.state = {"state": "OFF", "brightness": 180, "color_mode": "color_temp", "color_temp": 370, "linkquality": 120}
        self.topics = (f"zigbee2mqtt/{name}/set", f"zigbee2mqtt/{name}/get")

    def say(self, client):
        client.publish(f"zigbee2mqtt/{self.name}", json.dumps(self.state, separators=(",", ":")), 0, True)

    def start(self, client):
        client.publish(f"zigbee2mqtt/{self.name}/availability", '{"state":"online"}', 1, True)
        self.say(client)

    def tick(self, client):
        self.state["linkquality"] = random.randint(80, 160)
        self.say(client)

    def report(self):
        return self.state

    def command(self, client, topic, payload):
        if topic.endswith("/set"):
            try:
                wanted = json.loads(payload)
            except ValueError:
                wanted = {"state": payload.decode("utf-8", "replace")}
            if not isinstance(wanted, dict):
                return
            if "state" in wanted:
                state = on_off(str(wanted["state"]).encode(), self.state["state"] == "ON")
                if state is not None:
                    self.state["state"] = "ON" if state else "OFF"
            for key in ("brightness", "color_temp"):
                if isinstance(wanted.get(key), (int, float)):
                    self.state[key] = int(wanted[key])
        self.say(client)


class ZigbeeClimate(Device):
    every = 5

    def __init__(self, name):
        super().__init__(name)
        self.temperature = Walk(random.uniform(18, 24), 15, 28, 0.15)
        self.humidity = Walk(random.uniform(40, 60), 25, 80, 0.6)
        self.battery = random.randint(60, 100)

    def start(self, client):
        client.publish(f"zigbee2mqtt/{self.name}/availability", '{"state":"online"}', 1, True)
        self.tick(client)

    def tick(self, client):
        data = {"battery": self.battery, "humidity": self.humidity.next(2), "linkquality": random.randint(60, 140),
                "pressure": 1013, "temperature": self.temperature.next(2), "voltage": 2995}
        client.publish(f"zigbee2mqtt/{self.name}", json.dumps(data, separators=(",", ":")), 0, True)


class TasmotaPlug(Device):
    every = 4

    def __init__(self, name):
        super().__init__(name)
        self.power, self.total = True, 12.345
        self.watts = Walk(60, 4, 180, 9)
        self.topics = (f"cmnd/{name}/POWER",)

    def start(self, client):
        client.publish(f"tele/{self.name}/LWT", "Online", 1, True)
        client.publish(f"stat/{self.name}/POWER", "ON" if self.power else "OFF", 0, True)

    def tick(self, client):
        watts = self.watts.next(0) if self.power else 0
        self.total += watts * self.every / 3.6e6
        data = {"Time": time.strftime("%Y-%m-%dT%H:%M:%S"),
                "ENERGY": {"Total": round(self.total, 3), "Power": watts, "Voltage": 230 + random.randint(-2, 2),
                           "Current": round(watts / 230, 3), "Factor": 0.97}}
        client.publish(f"tele/{self.name}/SENSOR", json.dumps(data, separators=(",", ":")))

    def report(self):
        return {"POWER": "ON" if self.power else "OFF"}

    def command(self, client, topic, payload):
        state = on_off(payload, self.power)
        if state is not None:
            self.power = state
        word = "ON" if self.power else "OFF"
        client.publish(f"stat/{self.name}/RESULT", json.dumps({"POWER": word}))
        client.publish(f"stat/{self.name}/POWER", word, 0, True)


class ShellySwitch(Device):
    every = 6

    def __init__(self, name):
        super().__init__(name)
        self.output = False
        self.watts = Walk(35, 1, 90, 6)
        self.topics = (f"{name}/command/switch:0",)

    def status(self, client):
        data = {"id": 0, "source": "MQTT", "output": self.output, "apower": self.watts.next(1) if self.output else 0.0,
                "voltage": 231.4, "temperature": {"tC": 41.2, "tF": 106.2}}
        client.publish(f"{self.name}/status/switch:0", json.dumps(data, separators=(",", ":")))
        rpc = {"src": self.name, "dst": f"{self.name}/events", "method": "NotifyStatus",
               "params": {"ts": round(time.time(), 2), "switch:0": {"id": 0, "output": self.output}}}
        client.publish(f"{self.name}/events/rpc", json.dumps(rpc, separators=(",", ":")))

    def start(self, client):
        client.publish(f"{self.name}/online", "true", 0, True)

    def tick(self, client):
        self.status(client)

    def report(self):
        return {"output": self.output}

    def command(self, client, topic, payload):
        state = on_off(payload, self.output)
        if state is not None:
            self.output = state
            self.status(client)


class EspHomeNode(Device):
    every = 2

    def __init__(self, name):
        super().__init__(name)
        self.walks = {"temperature": Walk(21, 16, 27, 0.1), "co2": Walk(620, 400, 1800, 25), "lux": Walk(300, 0, 900, 40)}
        self.pump = False
        self.topics = (f"esphome/{name}/switch/pump/command",)

    def start(self, client):
        client.publish(f"esphome/{self.name}/status", "online", 1, True)
        client.publish(f"esphome/{self.name}/switch/pump/state", "OFF", 0, True)

    def tick(self, client):
        for sensor, walk in self.walks.items():
            client.publish(f"esphome/{self.name}/sensor/{sensor}/state", walk.next(1), 0, True)

    def report(self):
        return {"pump": self.pump}

    def command(self, client, topic, payload):
        state = on_off(payload, self.pump)
        if state is not None:
            self.pump = state
        client.publish(f"esphome/{self.name}/switch/pump/state", "ON" if self.pump else "OFF", 0, True)


DEVICES = [
    ZigbeeLamp("lamp_kitchen"), ZigbeeLamp("lamp_hall"), ZigbeeClimate("climate_living_room"),
    ZigbeeClimate("climate_bedroom"), TasmotaPlug("plug_washer"), TasmotaPlug("plug_desk"),
    ShellySwitch("shellyplus1pm-02aa11"), ShellySwitch("shellyplus1pm-02bb22"), EspHomeNode("greenhouse"),
    EspHomeNode("office"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--username")
    parser.add_argument("--password-file", type=pathlib.Path, help="its first line is the password")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long; 0: never")
    options = parser.parse_args()

    newer = {"callback_api_version": mqtt.CallbackAPIVersion.VERSION1} if hasattr(mqtt, "CallbackAPIVersion") else {}
    client = mqtt.Client(client_id=f"simulator-{random.getrandbits(32):08x}", protocol=mqtt.MQTTv5, **newer)
    if options.username:
        password = options.password_file.read_text().splitlines()[0] if options.password_file else None
        client.username_pw_set(options.username, password)

    def on_connect(_client, _data, _flags, code, _properties):
        if code != 0:
            return
        for device in DEVICES:
            for topic in device.topics:
                client.subscribe(topic, 1)
            device.start(client)

    def on_message(_client, _data, message):
        for device in DEVICES:
            if message.topic in device.topics:
                device.command(client, message.topic, message.payload)
                answer(message, device)

    def answer(message, device):
        """MQTT 5 request/response: whoever asks hears what the device is now."""
        topic = getattr(message.properties, "ResponseTopic", None)
        if not topic:
            return
        properties = Properties(PacketTypes.PUBLISH)
        if hasattr(message.properties, "CorrelationData"):
            properties.CorrelationData = message.properties.CorrelationData
        client.publish(topic, json.dumps({"device": device.name, "done": True, **device.report()}), 1, False, properties)

    client.on_connect = on_connect
    client.on_message = on_message
    client.reconnect_delay_set(1, 5)
    client.connect_async(options.host, options.port, 30)
    client.loop_start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    due = {device: time.monotonic() + random.uniform(0, device.every) for device in DEVICES}
    stop = time.monotonic() + options.seconds if options.seconds else float("inf")
    try:
        while time.monotonic() < stop:
            now = time.monotonic()
            for device, when in due.items():
                if now >= when and client.is_connected():
                    device.tick(client)
                    due[device] = now + device.every
            time.sleep(0.1)
    except KeyboardInterrupt:
        pass
    finally:
        client.loop_stop()


if __name__ == "__main__":
    main()
