"""The two programs that every tutorial shows, run as they are."""
import json
import pathlib
import sys

from harness import Process, wait_until

HERE = pathlib.Path(__file__).parent


def test_poll_loop(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="web: { poll_wait: 1s }\n"))
    client = world.mqtt(broker.port)
    program = world.keep(Process([sys.executable, "-u", str(HERE / "tutorial_poll.py"),
                                  gateway.http + "/poll?channel=devices/lamp"], world.directory / "tutorial"))
    wait_until(lambda: "reconnect" in program.text())  # nothing in the first second: 204
    wait_until(lambda: gateway.metric("sluice_sessions") >= 1)

    def got():
        client.publish("zigbee2mqtt/lamp", json.dumps({"state": "ON"}))
        return "'data': {'state': 'ON'}" in program.text()
    wait_until(got)


def test_websocket_loop(world):
    from conftest import yaml
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    device = world.mqtt(broker.port, subscribe=["zigbee2mqtt/lamp/set"])
    program = world.keep(Process([sys.executable, "-u", str(HERE / "tutorial_websocket.py"),
                                  gateway.ws + "/channels/devices/lamp"], world.directory / "tutorial"))
    wait_until(lambda: device.payloads("zigbee2mqtt/lamp/set") == [b'{"state": "ON"}'])
    for number in range(3):
        device.publish("zigbee2mqtt/lamp", json.dumps({"state": "ON", "n": number}))
    wait_until(lambda: "received: {'state': 'ON', 'n': 2}" in program.text())
    assert program.child.poll() is None
