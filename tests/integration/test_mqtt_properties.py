"""MQTT 5 properties of messages, both ways: content type, payload format, response topic, correlation data, user properties, expiry."""
import contextlib
import sqlite3
import struct
import time

import cluster
import paho.mqtt.client as mqtt
import pytest
from conftest import ROUTES, yaml
from harness import Broker, wait_until
from mqttclients import Paho, Raw, properties, text
from paho.mqtt.packettypes import PacketTypes

pytestmark = pytest.mark.memory

ALL = dict(PayloadFormatIndicator=1, ContentType="text/x-état", ResponseTopic="deep/answers/1", CorrelationData=b"\0\xff\1",
           UserProperty=[("unit", "°C"), ("unit", "K"), ("", "")])
PLACES = ROUTES + """
  - topic: split/{device}
    channel: split/{device}/{member}
    transform: split
"""


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, routes=PLACES, extra="mqtt: {}\nlimits: { properties: 1KiB }\nlog: { level: debug }\n"))


@pytest.fixture(scope="module")
def narrow(shared):
    """With a broker that takes no large packets."""
    broker = shared.broker(config="allow_anonymous true\nmax_packet_size 2000\n")
    return shared.sluice(yaml(broker.port, routes=PLACES, extra="mqtt: {}\n"))


@pytest.fixture
def paho(gateway):
    with contextlib.ExitStack() as stack:
        def make(where=gateway, **kwargs):
            client = Paho(where, **kwargs)
            stack.callback(client.close)
            return client.connected()
        yield make


@pytest.fixture
def device(shared, paho):
    """A client of the broker itself."""
    return paho(transport="tcp", port=shared.main_broker.port)


def known(message, *names):
    """What a message brings of these properties."""
    return {name: getattr(message.properties, name) for name in names if hasattr(message.properties, name)}


def everything(message):
    return known(message, *ALL)


def one(client, topic):
    wait_until(lambda: client.got(topic), what=topic)
    return next(message for message in client.messages if message.topic == topic)


# --- from the broker ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("qos", [0, 1])
def test_what_a_device_says_reaches_clients(gateway, paho, device, qos):
    name = f"deep/said/{qos}"
    page, other, old = paho(), paho(properties=properties(PacketTypes.CONNECT, TopicAliasMaximum=4)), paho(version=mqtt.MQTTv311)
    for client in (page, other, old):
        assert client.subscribe(name, qos) == [qos]
    device.publish(name, b"\xc3\xa9", 1, properties=properties(PacketTypes.PUBLISH, **ALL))
    for client in (page, other):
        assert everything(one(client, name)) == ALL
    assert one(old, name).payload == b"\xc3\xa9"
    late = paho()
    late.subscribe(name, qos)  # the last value has them too
    assert everything(one(late, name)) == ALL
    assert gateway.get("/channels/" + name).json()["data"] == "é"


def test_messages_without_any_have_none(paho, device):
    page = paho()
    page.subscribe("deep/none", 0)
    device.publish("deep/none", b"1", 1)
    assert one(page, "deep/none").properties.json() == {}


def test_a_response_topic_is_a_channel_or_is_left_out(paho, device):
    """`devices/{device}` hears of zigbee2mqtt/{device}, and publishes to another topic: no response would arrive there."""
    page = paho()
    page.subscribe("deep/asked/+", 0)
    for topic in ("lamps/3", "zigbee2mqtt/lamp", "zigbee2mqtt/lamp/set", "rooms/1/t", "nowhere/1"):
        device.publish("deep/asked/" + topic.replace("/", "-"), b"?", 1,
                       properties=properties(PacketTypes.PUBLISH, ResponseTopic=topic, CorrelationData=b"7"))
    wait_until(lambda: len(page.messages) == 5)
    assert [known(m, "ResponseTopic", "CorrelationData") for m in page.messages] == [{"ResponseTopic": "lamps/3", "CorrelationData": b"7"}] + \
        [{"CorrelationData": b"7"}] * 4


def test_more_than_the_limit_is_dropped_and_said(gateway, paho, device):
    before = gateway.metric("sluice_mqtt_properties_dropped_total")
    page = paho()
    page.subscribe("deep/large", 0)
    device.publish("deep/large", b"1", 1, properties=properties(PacketTypes.PUBLISH, UserProperty=[("k", "v" * 1100)]))
    assert one(page, "deep/large").properties.json() == {}
    assert gateway.metric("sluice_mqtt_properties_dropped_total") == before + 1
    assert "dropped 1106 bytes of properties of a message on 'deep/large': above limits.properties" in gateway.text()


def test_what_describes_a_payload_stays_with_it(paho, device):
    """A transform makes other payloads of it."""
    page = paho()
    page.subscribe("split/#", 0)
    device.publish("split/a", b'{"t":1}', 1, properties=properties(PacketTypes.PUBLISH, **ALL))
    assert everything(one(page, "split/a/t")) == {name: ALL[name] for name in ("ResponseTopic", "CorrelationData", "UserProperty")}


def test_time_that_passes_is_subtracted(gateway, paho, device):
    page = paho()
    page.subscribe("deep/brief", 0)
    device.publish("deep/brief", b"1", 1, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=3))
    assert known(one(page, "deep/brief"), "MessageExpiryInterval") == {"MessageExpiryInterval": 3}

    def left():
        late = paho()
        late.subscribe("deep/brief", 1)
        wait_until(lambda: late.messages, what="the last value")
        return late.messages[0].properties.MessageExpiryInterval

    wait_until(lambda: left() in (1, 2), what="less time")
    wait_until(lambda: gateway.get("/channels/deep/brief").status_code == 404, what="no value")
    late = paho()
    late.subscribe("deep/#", 1)
    device.publish("deep/mark", b"1", 1)
    wait_until(lambda: any(message.topic == "deep/mark" for message in late.messages), what="the mark")
    assert not [message for message in late.messages if message.topic == "deep/brief"]


def test_expired_messages_are_not_delivered(gateway, device, shared):
    """A client whose window is full gets the rest later: what has expired meanwhile it does not get."""
    with Raw(gateway) as raw:
        raw.connect(5, properties=b"\x21\0\1")  # receive maximum 1
        raw.send(0x82, b"\0\1\0" + text("deep/window") + b"\1")
        assert raw.receive()[0] == 0x90
        for payload, expiry in ((b"first", {}), (b"gone", {"MessageExpiryInterval": 1}), (b"last", {})):
            device.publish("deep/window", payload, 1, properties=properties(PacketTypes.PUBLISH, **expiry))
        first, body = raw.receive()
        assert body.endswith(b"first")
        came = time.monotonic()
        wait_until(lambda: time.monotonic() > came + 1.1)
        raw.send(0x40, body[13:15])
        assert raw.receive()[1].endswith(b"last")


@pytest.mark.parametrize("storage", ["memory", "disk", "valkey"])
def test_a_session_that_resumes_has_them(world, storage):
    """From the histories: in memory, after a restart from the disk, on another node by the engine."""
    broker = world.broker()
    extra = "mqtt: {}\n"
    with contextlib.ExitStack() as stack:
        if storage == "valkey":
            redis = world.keep(cluster.Redis(world.directory))
            routes = '\n  - { topic: "plant/{rest...}", publish: {}, history: { count: 50 } }\n'
            first, second = (world.keep(cluster.Node(world.directory, name, broker.port, redis.port, routes=routes, extra=extra))
                             for name in "ab")
        else:
            more = f"storage: {{ path: {world.directory}/store.db, flush: 20ms }}\n" if storage == "disk" else ""
            routes = f'\n  - {{ topic: "plant/{{rest...}}", publish: {{}}, history: {{ store: {storage}, count: 50 }} }}\n'
            config = yaml(broker.port, routes=routes, extra=extra + more)
            first = second = world.sluice(config)
        device = Paho(None, transport="tcp", port=broker.port)
        stack.callback(device.close)
        device.connected()
        said = dict(ALL, ResponseTopic="plant/answers")
        wait_until(lambda: first.get("/readyz").ok)
        for value in range(3):
            device.publish("plant/t", str(value), 1, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=60, **said))
        wait_until(lambda: second.get("/channels/plant/t").json().get("data") == 2)
        cursor = second.get("/channels/plant/t/history").json()["messages"][0]["cursor"]
        if storage == "disk":
            first.stop()
            second = world.sluice(config)
        page = Paho(second)
        stack.callback(page.close)
        page.connected().subscribe("plant/t", 1, properties=properties(PacketTypes.SUBSCRIBE, UserProperty=("cursor", cursor)))
        wait_until(lambda: len(page.messages) == 2)
        for message in page.messages:
            came = everything(message)
            assert came.pop("UserProperty") == [("cursor", came_cursor(message))] + said["UserProperty"]
            assert came == {name: value for name, value in said.items() if name != "UserProperty"}
            assert 50 < message.properties.MessageExpiryInterval <= 60


def test_a_database_of_an_earlier_release_is_upgraded(world):
    """Its messages stay; later ones have their properties on the disk too."""
    broker = world.broker()
    path = world.directory / "store.db"
    config = yaml(broker.port, routes='\n  - { topic: "plant/{rest...}", history: { store: disk } }\n',
                  extra=f"mqtt: {{}}\nstorage: {{ path: {path}, flush: 20ms }}\n")
    device = world.mqtt(broker.port)
    first = world.sluice(config)
    device.publish("plant/t", "1")
    wait_until(lambda: first.get("/channels/plant/t").ok)
    first.stop()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.executescript("ALTER TABLE message DROP COLUMN properties; ALTER TABLE state DROP COLUMN written;"
                               "DROP TABLE series; DROP TABLE rollup; DROP TABLE gap; DROP TABLE step; PRAGMA user_version=1;")
    second = world.sluice(config)
    assert second.get("/channels/plant/t").json()["data"] == 1
    with contextlib.closing(Paho(None, transport="tcp", port=broker.port)) as sender:
        sender.connected().publish("plant/u", "2", 1, properties=properties(PacketTypes.PUBLISH, ContentType="a/b"))
    wait_until(lambda: second.get("/channels/plant/u").ok)
    second.stop()
    third = world.sluice(config)
    with contextlib.closing(Paho(third)) as page:
        page.connected().subscribe("plant/+", 0)
        assert known(one(page, "plant/u"), "ContentType") == {"ContentType": "a/b"} and one(page, "plant/t").payload == b"1"


def came_cursor(message):
    return dict(message.properties.UserProperty)["cursor"]


# --- to the broker --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_a_client_says_reaches_devices(paho, device, qos):
    name = f"deep/told/{qos}"
    device.subscribe(name, 1)
    page = paho()
    page.publish(name, b"x", qos, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=60, **ALL))
    got = one(device, name)
    assert everything(got) == ALL
    assert got.properties.MessageExpiryInterval in (59, 60)


def test_aliases_and_identifiers_are_not_passed_on(gateway, device):
    device.subscribe("deep/alias", 1)
    with Raw(gateway) as raw:
        raw.connect(5)
        raw.send(0x32, text("deep/alias") + b"\0\1" + b"\x08\x23\0\1\3\0\2hi" + b"x")
        assert raw.receive() == (0x40, b"\0\1")
    assert one(device, "deep/alias").properties.json() == {"ContentType": "hi"}


def puback(raw, topic, block):
    raw.send(0x32, text(topic) + b"\0\1" + bytes([len(block)]) + block + b"x")
    first, body = raw.receive()
    assert first == 0x40
    return body[2] if len(body) > 2 else 0


def test_a_response_topic_that_leads_nowhere_is_refused(gateway, shared):
    """Nobody would ever hear the response."""
    with Raw(gateway) as raw:
        raw.connect(5)
        assert puback(raw, "deep/ask", b"\x08" + text("lamps/1")) == 0
        for channel in ("devices/lamp", "nowhere/1", "split/a/b"):
            assert puback(raw, "deep/ask", b"\x08" + text(channel)) in (0x87, 0x90), channel


@pytest.mark.parametrize("block", [
    b"\x26" + text(b"\xff") + text("v"), b"\x26" + text("a\0") + text("v"), b"\x03" + text(b"\xed\xa0\x80"), b"\x03" + text("a") + b"\x03" + text("b"),
    b"\x08" + text("deep/#"), b"\x08" + text("$share/g/deep/a"), b"\x08" + text(""), b"\x08" + text("deep" + "/a" * 300), b"\x01\x02",
    b"\x02\0\0\0\1\x02\0\0\0\1", b"\x0b\x01", b"\x23\0\0", b"\x09" + text(b"x" * 1990), (b"\x26" + text("k" * 100) + text("v" * 100)) * 10],
    ids=["not UTF-8", "NUL", "a surrogate", "a type twice", "a wildcard", "a shared filter", "no topic", "300 levels", "another format",
         "expiry twice", "an identifier", "alias 0", "more than the broker takes", "more than the broker takes, in pieces"])
def test_no_property_of_a_client_ends_the_connection_to_the_broker(narrow, block):
    """Whatever becomes of the publish."""
    size, length = len(block), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | 128 * (size > 0)])
        if not size:
            break
    with Raw(narrow) as raw:
        raw.connect(5)
        raw.send(0x32, text("deep/odd") + b"\0\1" + length + block + b"x")
        answer = raw.receive()
        assert answer is None or answer[0] in (0x40, 0xe0), answer
        assert answer != (0x40, b"\0\1"), "the broker has taken it"
    assert narrow.post("/channels/lamps/1", data="1").json()["status"] == "published"
    assert narrow.metric("sluice_mqtt_connects_total") == 1


def test_a_response_topic_is_one_that_the_client_may_publish_to(shared):
    """Otherwise a device would publish for the client where the client may not."""
    roles = 'auth: { anonymous: guest }\nroles: { guest: { subscribe: "#", publish: ["deep/#"] } }\n'
    gateway = shared.sluice(yaml(shared.main_broker.port, extra="mqtt: {}\n" + roles))
    with Raw(gateway) as raw:
        raw.connect(5)
        assert puback(raw, "deep/ask", b"\x08" + text("deep/mine")) == 0
        assert puback(raw, "deep/ask", b"\x08" + text("lamps/1")) == 0x87
    with Raw(gateway) as raw:  # the same for a will
        will = bytes([3 + len("lamps/1")]) + b"\x08" + text("lamps/1") + text("deep/will") + text("gone")
        raw.send(0x10, text("MQTT") + b"\5\6\0\0\0" + text("w") + will)
        assert raw.receive()[1][1] == 0x87


@pytest.mark.parametrize("delay", [0, 1])
def test_wills_have_them(gateway, device, delay):
    name = f"deep/will/{delay}"
    device.subscribe(name, 1)
    with Raw(gateway) as raw:
        block = struct.pack(">BI", 0x18, delay) + b"\2" + struct.pack(">I", 60) + b"\x03" + text("a/b") + b"\x09" + text(b"\0\1") + b"\x26" + \
            text("k") + text("v") + b"\x08" + text("deep/answers")
        raw.connect(5, 6, f"will{delay}", properties=b"\x11\0\0\0\x3c", rest=bytes([len(block)]) + block + text(name) + text("gone"))
    got = one(device, name)
    assert known(got, "ContentType", "CorrelationData", "UserProperty", "ResponseTopic") == {
        "ContentType": "a/b", "CorrelationData": b"\0\1", "UserProperty": [("k", "v")], "ResponseTopic": "deep/answers"}
    assert got.properties.MessageExpiryInterval in (59, 60)


def test_time_that_a_publish_waits_is_subtracted(world):
    """What expires while the broker is away is never sent; what does not has less time left."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, broker="  while_down: queue\n", extra="mqtt: {}\n").replace("publish_timeout: 3s", "publish_timeout: 20s"))
    with contextlib.ExitStack() as stack:
        page = Paho(gateway)
        stack.callback(page.close)
        page.connected()
        broker.kill()
        wait_until(lambda: not gateway.get("/readyz").ok)
        for name, seconds in (("brief", 1), ("long", 90)):
            page.client.publish("twice/" + name, name, 1, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=seconds))
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.2)
        again = world.keep(Broker(world.directory, port=broker.port, name="again", config="allow_anonymous true"))
        device = Paho(None, transport="tcp", port=again.port)
        stack.callback(device.close)
        device.connected().subscribe("twice/#", 1)
        page.publish("twice/now", b"now", 1)  # behind them; the route retains all three
        assert one(device, "twice/now") and one(device, "twice/long").properties.MessageExpiryInterval < 90
        assert not device.got("twice/brief")


def test_requester_and_responder_are_both_clients_of_the_gateway(paho):
    """The request/response pattern of MQTT 5.0 section 4.10, from page to page."""
    asks, answers = paho(), paho()
    answers.subscribe("deep/question", 1)
    asks.subscribe("deep/answers/7", 1)
    asks.publish("deep/question", b"how warm?", 1,
                 properties=properties(PacketTypes.PUBLISH, ResponseTopic="deep/answers/7", CorrelationData=b"42"))
    got = one(answers, "deep/question")
    answers.publish(got.properties.ResponseTopic, b"21", 1, properties=properties(PacketTypes.PUBLISH, CorrelationData=got.properties.CorrelationData))
    answer = one(asks, "deep/answers/7")
    assert answer.payload == b"21" and answer.properties.CorrelationData == b"42"
