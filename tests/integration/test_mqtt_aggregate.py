"""Windows of numbers (`aggregate`, a user property of SUBSCRIBE) for stock MQTT clients: Paho."""
import json

import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import properties
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.subscribeoptions import SubscribeOptions
from test_aggregate import EVERY, Feed, after, history, oracle

pytestmark = pytest.mark.memory

ROUTES = '\n  - { topic: "rooms/{rest...}", history: { count: 20000, bytes: 64MiB } }\n'
WINDOWS = ("aggregate", f"/t:{EVERY}ms")


@pytest.fixture(scope="module")
def gateway(shared):
    sluice = shared.sluice(yaml(shared.main_broker.port, ROUTES, extra="workers: 3\nmqtt: {}\nlimits: { aggregates: 2 }\n"))
    after(2)  # what came before the start is unknown, so the window of the start is partial
    return sluice


def subscribe(watcher, name, *user, qos=1, id=None):
    return watcher.subscribe(name, options=SubscribeOptions(qos), properties=properties(
        PacketTypes.SUBSCRIBE, UserProperty=list(user), **({"SubscriptionIdentifier": id} if id else {})))


def reason(watcher):
    """What the last SUBACK says."""
    return watcher.subacks[max(watcher.subacks)][1][0].ReasonString


def window(message):
    data = json.loads(message.payload)
    return data if isinstance(data, dict) and "step" in data else None


def windows(watcher, channel):
    """By time; the later one counts."""
    found = {}
    for message in watcher.messages:
        data = window(message)
        if data and message.topic == channel:
            assert data["step"] == EVERY and data["field"] == "/t" and message.qos == 0 and not message.retain
            found[data["t"]] = (data["count"], data["min"], data["max"], data["last"])
    return found


def settle(gateway, watcher, channel):
    wait_until(lambda: windows(watcher, channel) == {t: row[:4] for t, row in oracle(history(gateway, channel)).items()}, 20,
               "the windows of the history")


def test_windows_are_what_the_history_says(gateway, paho, client):
    watcher = paho().connected()
    with Feed(client, ["rooms/a", "rooms/b"]):
        after(2)
        assert subscribe(watcher, "rooms/a", WINDOWS, ("since", "-10s"), id=7) == [0]  # whatever was asked for
        after(4)
    settle(gateway, watcher, "rooms/a")
    assert {m.topic for m in watcher.messages} == {"rooms/a"} and all(window(m) for m in watcher.messages)
    newest = watcher.messages[-1].properties
    assert newest.SubscriptionIdentifier == [7]
    cursor = dict(newest.UserProperty)["cursor"]
    # Another client goes on from there, and begins with the window to which that place belongs.
    other = paho().connected()
    assert subscribe(other, "rooms/a", WINDOWS, ("cursor", cursor)) == [0]
    wait_until(lambda: windows(other, "rooms/a"))
    assert windows(other, "rooms/a").items() <= windows(watcher, "rooms/a").items()


def test_beside_messages_and_in_their_place(gateway, paho, client):
    watcher = paho().connected()
    assert subscribe(watcher, "rooms/m/+", id=1) == [1]
    assert subscribe(watcher, "rooms/m/a", WINDOWS, id=2) == [0]
    with Feed(client, ["rooms/m/a"]):
        after(4)
    messages = history(gateway, "rooms/m/a")
    wait_until(lambda: len(messages) == len(history(gateway, "rooms/m/a")) and
               len([m for m in watcher.messages if not window(m)]) == len(messages))
    last = max(oracle(messages))
    wait_until(lambda: last in windows(watcher, "rooms/m/a"))
    for message in watcher.messages:
        assert message.properties.SubscriptionIdentifier == ([2] if window(message) else [1])
    # The same filter again: messages take the place of windows, and windows that of messages.
    assert subscribe(watcher, "rooms/m/a", id=3) == [1]
    assert subscribe(watcher, "rooms/m/+", WINDOWS, id=4) == [0]
    before = len(watcher.messages)
    client.publish("rooms/m/a", '{"t":1}')
    client.publish("rooms/m/b", '{"t":2}')
    wait_until(lambda: sum(bool(window(m)) for m in watcher.messages[before:]) >= 2)
    ids = {(m.topic, bool(window(m))): m.properties.SubscriptionIdentifier for m in watcher.messages[before:]}
    assert ids == {("rooms/m/a", False): [3], ("rooms/m/a", True): [4], ("rooms/m/b", True): [4]}
    watcher.client.unsubscribe("rooms/m/+")
    watcher.client.unsubscribe("rooms/m/a")
    wait_until(lambda: gateway.metric("sluice_windows_open") == 0)


def test_a_kept_session_goes_on(gateway, paho, client):
    kept = {"properties": properties(PacketTypes.CONNECT, SessionExpiryInterval=60), "clean": False}
    with Feed(client, ["rooms/kept"]):
        watcher = paho(client_id="charts", **kept).connected()
        assert subscribe(watcher, "rooms/kept", WINDOWS, ("since", "-10s")) == [0]
        assert subscribe(watcher, "rooms/kept/#") == [1]
        for rest in range(3):
            after(rest)
            watcher.client.disconnect()
            watcher.client.loop_stop()
            after(2)
            before = watcher.messages
            watcher = paho(client_id="charts", **kept).connected()
            watcher.messages[:0] = before
        after(2)
    settle(gateway, watcher, "rooms/kept")


@pytest.mark.parametrize("text,said", [("/t", "FIELD:EVERY"), ("t:1s", "JSON pointer"), ("/t:1ms", "100ms to 1d"), ("", "FIELD:EVERY")])
def test_what_is_no_aggregate(gateway, paho, text, said):
    watcher = paho().connected()
    assert subscribe(watcher, "rooms/x", ("aggregate", text)) == [0x8f]
    assert said in reason(watcher)


def test_too_many_different_ones(gateway, paho):
    watcher = paho().connected()
    names = [f"/{field}:1s" for field in "abc"]
    wait_until(lambda: gateway.metric("sluice_windows_open") == 0)
    codes = [subscribe(watcher, f"rooms/{i}", ("aggregate", name)) for i, name in enumerate(names)]
    assert codes[0] == [0] and codes[-1] == [0x97] and "limits.aggregates" in reason(watcher)
