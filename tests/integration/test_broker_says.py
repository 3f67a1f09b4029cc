"""What a broker says in CONNACK, SUBACK, PUBACK and DISCONNECT (MQTT 5.0), each with what the gateway makes of it; and brokers
that know 3.1.1 only. docs/mqtt.md has the same table in words."""
import itertools
import struct
import threading

import pytest
from conftest import yaml
from fake_broker import FakeBroker, PacketTypes, properties
from harness import wait_until

ROUTES = "  - topic: home/#\n    publish: {}\n"


def start(world, broker, settings="", routes=ROUTES, ready=True, **kwargs):
    return world.sluice(yaml(broker.port, routes=routes, broker=settings, **kwargs), ready=ready)


def works(gateway, broker):
    """Both ways, on the first connection."""
    assert gateway.post("/channels/home/out", b"1").status_code == 200
    broker.connections[-1].publish("home/in", b"7")
    wait_until(lambda: gateway.get("/channels/home/in").status_code == 200)
    assert len(broker.connects) == 1


# name, CONNACK's properties, what the log says ("": nothing)
CONNACK = [
    ("SessionExpiryInterval", {"SessionExpiryInterval": 60}, "keeps the session for 60 s only, of 3600 s asked for"),
    ("ReceiveMaximum", {"ReceiveMaximum": 1}, ""),
    ("MaximumQoS", {"MaximumQoS": 1}, "publishes up to QoS 1"),
    ("RetainAvailable", {"RetainAvailable": 0}, "keeps no retained messages"),
    ("MaximumPacketSize", {"MaximumPacketSize": 1000}, ""),
    ("TopicAliasMaximum", {"TopicAliasMaximum": 10}, ""),
    ("ReasonString", {"ReasonString": "hello"}, ""),
    ("UserProperty", {"UserProperty": ("a", "b")}, ""),
    ("WildcardSubscriptionAvailable", {"WildcardSubscriptionAvailable": 0}, "takes no wildcards in subscriptions"),
    ("SubscriptionIdentifierAvailable", {"SubscriptionIdentifierAvailable": 0}, ""),
    ("SharedSubscriptionAvailable", {"SharedSubscriptionAvailable": 0}, ""),
    ("ServerKeepAlive", {"ServerKeepAlive": 1}, "sets the keep-alive to 1 s"),
    ("ResponseInformation", {"ResponseInformation": "r/"}, ""),
    ("ServerReference", {"ServerReference": "other:1883"}, ""),
    ("nothing", {}, ""),
]


@pytest.mark.parametrize("name, properties, log", CONNACK, ids=[row[0] for row in CONNACK])
def test_connack(world, name, properties, log):
    broker = world.keep(FakeBroker(**properties))
    gateway = start(world, broker, "  client_id: one\n  session_expiry: 1h\n")
    works(gateway, broker)
    assert log in gateway.text()
    with_id = "SubscriptionIdentifier" in broker.subscribes[0]["props"]
    assert with_id == (name != "SubscriptionIdentifierAvailable")
    assert all("TopicAlias" not in publish["props"] for publish in broker.publishes)


def test_assigned_client_identifier(world):
    """Only a client that sent none may be given one (section 3.2.2.3.7), and the gateway always sends one."""
    broker = world.keep(FakeBroker(AssignedClientIdentifier="given"))
    gateway = start(world, broker, ready=False)
    wait_until(lambda: "the broker breaks the protocol" in gateway.text())


def test_server_keep_alive(world):
    """Pings come at the broker's pace: broker.keepalive (5 s) would be too slow for it."""
    class Counting(FakeBroker):
        pings = 0

        def ping(self, c):
            self.pings += 1
            super().ping(c)
    broker = world.keep(Counting(ServerKeepAlive=1))
    start(world, broker)
    wait_until(lambda: broker.pings >= 3, 4.5)


# Reason codes with which a broker may refuse (section 3.2.2.2), and what the one line about it tells to do.
REFUSALS = {0x80: "log", 0x81: "log", 0x82: "log", 0x83: "log", 0x84: "broker.protocol", 0x85: "broker.client_id",
            0x86: "broker.username", 0x87: "ACL", 0x88: "not ready", 0x89: "overloaded", 0x8A: "ban", 0x8C: "authentication",
            0x90: "topics", 0x95: "limits.frame", 0x97: "quota", 0x99: "", 0x9A: "publish.retain", 0x9B: "publish.qos",
            0x9C: "'other:1883'", 0x9D: "'other:1883'", 0x9F: "broker.reconnect.min"}


@pytest.mark.parametrize("code", REFUSALS)
def test_refused(world, code):
    class Refusing(FakeBroker):
        def connect(self, c):
            c.connack(code, ReasonString="for a reason", ServerReference="other:1883", UserProperty=("ticket", "4711"))
            c.close()
    broker = world.keep(Refusing())
    gateway = start(world, broker, "  protocol: 5\n", ready=False)
    wait_until(lambda: len(broker.connects) > 2)
    lines = [line for line in gateway.text().splitlines() if '"part":"mqtt"' in line]
    assert all(f"it refused the connection: " in line and f"(0x{code:02x}), it says 'for a reason'" in line
               and "'other:1883'" in line and "ticket: '4711'" in line and REFUSALS[code] in line for line in lines), lines
    assert set(broker.levels()) == {5}


@pytest.mark.parametrize("code", range(1, 6))
def test_refused_with_3_1_1(world, code):
    class Refusing(FakeBroker):
        def connect(self, c):
            c.connack(code)
            c.close()
    broker = world.keep(Refusing())
    gateway = start(world, broker, "  protocol: 3.1.1\n", ready=False)
    wait_until(lambda: len(broker.connects) > 2)
    lines = [line for line in gateway.text().splitlines() if '"part":"mqtt"' in line]
    assert all("it refused the connection: " in line and "(0x8" in line for line in lines), lines


DISCONNECTS = {0x80: "log", 0x87: "ACL", 0x89: "overloaded", 0x8B: "stopped", 0x8D: "broker.keepalive",
               0x8E: "broker.client_id", 0x8F: "routes", 0x95: "limits.frame", 0x96: "limits.publish_rate", 0x97: "quota",
               0x98: "operator", 0x9C: "'other:1883'", 0x9D: "'other:1883'", 0x9F: "reconnect.min", 0xA0: "how long",
               0xA1: "3.1.1", 0xA2: "captures", 0x9E: ""}


@pytest.mark.parametrize("code", DISCONNECTS)
def test_disconnect(world, code):
    broker = world.keep(FakeBroker())
    gateway = start(world, broker)
    works(gateway, broker)
    c = broker.connections[-1]
    with pytest.raises(ConnectionError):
        c.disconnect(code, ReasonString="for a reason", ServerReference="other:1883")
    wait_until(lambda: len(broker.connects) > 1)
    gateway.wait_ready()
    lines = [line for line in gateway.text().splitlines() if "no connection to" in line]
    assert len(lines) == 1 and f"(0x{code:02x}), it says 'for a reason'" in lines[0] and DISCONNECTS[code] in lines[0]
    assert "'other:1883'" in lines[0] and "given up" not in gateway.text()


PUBACKS = {0x80: "rejected", 0x83: "rejected", 0x87: "forbidden", 0x90: "rejected", 0x91: "rejected", 0x95: "too_large",
           0x97: "overloaded", 0x99: "rejected", 0x10: None, 0x00: None}


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("code", PUBACKS)
def test_puback_and_pubrec(world, code, qos):
    class Refusing(FakeBroker):
        def publish(self, c, packet):
            if code < 0x80 and qos == 2:
                super().publish(c, packet)
            else:
                kind = PacketTypes.PUBREC if qos == 2 else PacketTypes.PUBACK
                c.send(0x50 if qos == 2 else 0x40, struct.pack("!HB", packet["mid"], code) + properties(kind, ReasonString="so be it"))
    broker = world.keep(Refusing())
    gateway = start(world, broker, routes=f"  - topic: home/#\n    publish: {{ qos: {qos} }}\n")
    answer = gateway.post("/channels/home/x", b"1")
    assert answer.json().get("code") == PUBACKS[code]
    if code >= 0x80:
        assert answer.json()["reason"] == code
        assert f"the broker refused a publish: " in gateway.text() and f"(0x{code:02x}), it says 'so be it'" in gateway.text()
    assert len(broker.connects) == 1


SUBACKS = [0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]


@pytest.mark.parametrize("code", SUBACKS)
def test_suback(world, code):
    """Told with its reason; the others work."""
    class Refusing(FakeBroker):
        def subscribe(self, c, packet):
            name = packet["filters"][0][0]
            c.suback(packet["mid"], [code if name == "bad/#" else 1], ReasonString="not for you")
    broker = world.keep(Refusing())
    gateway = start(world, broker, routes=ROUTES + "  - topic: bad/#\n")
    works(gateway, broker)
    assert f"the broker refused the subscription to 'bad/#'" in gateway.text() and f"(0x{code:02x}), it says 'not for you'" in gateway.text()


class Aws(FakeBroker):
    """The documented limits of AWS IoT Core: whatever is beyond them ends the connection."""

    def __init__(self):
        super().__init__(MaximumQoS=1, RetainAvailable=1, SharedSubscriptionAvailable=1, SubscriptionIdentifierAvailable=0,
                         WildcardSubscriptionAvailable=1, MaximumPacketSize=149504, ReceiveMaximum=100, TopicAliasMaximum=8,
                         SessionExpiryInterval=0, ServerKeepAlive=30)

    def subscribe(self, c, packet):
        if "SubscriptionIdentifier" in packet["props"]:
            c.disconnect(0xA1, ReasonString="Subscription Id is not supported now")
        if len(packet["filters"]) > 8 or any(name.startswith("forbidden") or name.count("/") > 7 for name, _ in packet["filters"]):
            c.close()
        super().subscribe(c, packet)

    def publish(self, c, packet):
        if packet["qos"] > 1 or packet["size"] > 131072 or packet["topic"].count("/") > 7 or "forbidden" in packet["topic"]:
            c.close()
        super().publish(c, packet)


def test_aws_iot_core(world):
    """The defaults work: many filters, one of them forbidden by the policy, requests, and publishes beyond the limits."""
    broker = world.keep(Aws())
    routes = "".join(f"  - topic: f{n}/{{id}}\n" for n in range(20)) + ROUTES + "  - topic: forbidden/#\n"
    gateway = start(world, broker, routes=routes)
    wait_until(lambda: "the broker closes the connection on the subscription to 'forbidden/#': left out" in gateway.text())
    wait_until(lambda: gateway.get("/readyz").status_code == 200)
    connects = len(broker.connects)
    assert gateway.post("/channels/home/x", b"1").status_code == 200
    assert gateway.post("/channels/home/large", b"x" * 200000).status_code == 413
    broker.connections[-1].publish("f19/in", b"7")
    wait_until(lambda: gateway.get("/channels/f19/in").status_code == 200)
    assert len(broker.connects) == connects
    # Nothing tells how deep topics may be: two publishes find it out, and the third is refused, whatever its topic.
    codes = []
    for number in range(4):
        codes.append(gateway.post(f"/channels/home/{number}/3/4/5/6/7/8/9", b"1").json().get("code"))
        wait_until(lambda: gateway.get("/readyz").status_code == 200)
    assert codes == ["upstream_down"] * 2 + ["rejected"] * 2 and len(broker.connects) == connects + 2
    assert "topics of 9 levels or more are refused" in gateway.text()
    assert gateway.post("/channels/home/2/3/4/5/6/7/8", b"1").status_code == 200


def test_subscriptions_without_an_answer_are_named(world):
    class Cut(FakeBroker):
        cuts = 0

        def subscribe(self, c, packet):
            if packet["filters"][0][0] == "two/#" and not self.cuts:
                self.cuts = 1
                c.close()
            super().subscribe(c, packet)
    broker = world.keep(Cut())
    gateway = start(world, broker, routes="  - topic: one/#\n  - topic: two/#\n  - topic: three/#\n")
    said = next(line for line in gateway.text().splitlines() if "before the broker answered" in line)
    assert "'two/#', 'three/#'" in said  # and perhaps the second SUBSCRIBE of one/#
    assert "left out" not in gateway.text()


def test_a_broker_that_closes_on_the_second_subscribe_of_a_filter(world):
    """The filter is left out after two connections, as one that it closes on at once: the others work."""
    class Cut(FakeBroker):
        def subscribe(self, c, packet):
            if packet["filters"][0][0] == "two/#" and packet["filters"][0][1] & 3:
                c.close()
            super().subscribe(c, packet)
    broker = world.keep(Cut())
    gateway = start(world, broker, routes="  - topic: one/#\n  - topic: two/#\n  - topic: three/#\n")
    wait_until(lambda: "closes the connection on the subscription to 'two/#': left out" in gateway.text())
    wait_until(lambda: gateway.get("/readyz").status_code == 200)
    assert len(broker.connects) <= 4


class Old(FakeBroker):
    """Knows 3.1.1 only."""
    way = "polite"

    def connect(self, c):
        if c.level == 4:
            c.connack()
        elif self.way == "polite": # a CONNACK of 3.1.1, return code 1
            c.send(0x20, b"\0\1")
            c.close()
        elif self.way == "0x84":
            c.connack(0x84)
            c.close()
        else:
            c.close(reset=self.way == "reset")


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("way", ["polite", "0x84", "eof", "reset"])
def test_fallback(world, way, kept):
    broker = world.keep(Old())
    broker.way = way
    gateway = start(world, broker, "  client_id: one\n  session_expiry: 1h\n" if kept else "")
    # Silence is no proof: 5 is tried once more before 3.1.1 is kept.
    assert broker.levels() == ([5, 4] if way in ("polite", "0x84") else [5, 4, 5, 4])
    assert "takes no MQTT 5" in gateway.text() and "broker.protocol: 3.1.1" in gateway.text()
    assert gateway.post("/channels/home/x", b"1").status_code == 200
    assert gateway.post("/channels/home/x?reply=1s", b"1").status_code == 501
    broker.cut() # what was found out is kept for an hour
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 2)
    gateway.wait_ready()
    assert broker.levels()[-1] == 4 and len(broker.connects) in (3, 5)


def test_no_fallback_where_it_is_not_wanted(world):
    broker = world.keep(Old())
    gateway = start(world, broker, "  protocol: 5\n", ready=False)
    wait_until(lambda: len(broker.connects) > 3)
    assert set(broker.levels()) == {5} and gateway.get("/readyz").status_code == 503


def test_silence_for_another_reason_keeps_5(world):
    """A proxy takes connections before its broker is up, and closes them (docker's does): that is no old broker."""
    class Starting(FakeBroker):
        left = 3

        def connect(self, c):
            self.left -= 1
            if self.left >= 0:
                c.close()
            super().connect(c)
    broker = world.keep(Starting())
    gateway = start(world, broker)
    assert broker.connections[-1].level == 5 and gateway.get("/readyz").status_code == 200
    assert "takes no MQTT 5" not in gateway.text()


def test_keep_alive_expires(world):
    class Deaf(FakeBroker):
        def ping(self, c):
            pass
    broker = world.keep(Deaf(ServerKeepAlive=1))
    gateway = start(world, broker)
    wait_until(lambda: "did not answer within broker.keepalive" in gateway.text(), 15)


def test_no_answer_to_connect(world):
    """A broker that does not answer an unknown version at all: after 10 s the other one is tried."""
    class Mute(FakeBroker):
        def connect(self, c):
            if c.level == 4:
                super().connect(c)
    broker = world.keep(Mute())
    gateway = start(world, broker, ready=False)
    gateway.wait_ready(40)
    assert broker.levels() == [5, 4, 5, 4] and "does not answer CONNECT: trying MQTT 3.1.1" in gateway.text()


class Late(FakeBroker):
    """Does not answer SUBSCRIBE before `answers` is set; `stored`: it sends values until then."""

    def __init__(self, stored):
        super().__init__()
        self.stored, self.answers = stored, threading.Event()

    def subscribe(self, c, packet):
        values = itertools.count()
        while not self.answers.wait(0.2):
            if self.stored:
                c.publish(f"home/{next(values)}", b"1", retain=True)
        super().subscribe(c, packet)

    def end(self):
        self.answers.set()
        super().end()


def test_stored_values_before_suback(world):
    """As long as the broker sends something it is not silent: beginning anew would never end."""
    silent, sending = world.keep(Late(stored=False)), world.keep(Late(stored=True))
    given_up, waits = (world.sluice(yaml(broker.port, routes=ROUTES).replace("keepalive: 5s", "keepalive: 30s"), ready=False)
                       for broker in (silent, sending))
    wait_until(lambda: "message(s), but does not answer SUBSCRIBE yet: waiting" in waits.text(), 20)
    sending.answers.set()
    waits.wait_ready(20)
    assert len(sending.connects) == 1
    assert waits.get("/channels/home/0").json()["data"] == 1
    wait_until(lambda: "the broker does not answer SUBSCRIBE" in given_up.text())


def test_what_is_no_mqtt(world):
    class Http(FakeBroker):
        def connect(self, c):
            c.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 200)
            c.close()
    broker = world.keep(Http())
    gateway = start(world, broker, ready=False)
    wait_until(lambda: "what answers is no MQTT broker: check the port in broker.url" in gateway.text())
