"""A publish hurts nobody but its client: whatever makes a broker close on it, and whatever becomes of the connection."""
import asyncio
import concurrent.futures
import datetime
import json
import threading
import time

import pytest
import websockets
from conftest import yaml
from fake_broker import FakeBroker
from harness import SANITIZED, wait_until
from wsclient import connect

ROUTES = "  - topic: home/#\n    publish: {}\n"
PROTOCOLS = ["5", "3.1.1"]


def start(world, port, broker="", routes=ROUTES, **kwargs):
    return world.sluice(yaml(port, routes=routes, broker=broker, **kwargs))


def stays(gateway, connects):
    """The connection works and is the same as before: an answer has come by it after what should not have broken it."""
    assert gateway.post("/channels/home/fine", b"1").status_code == 200
    assert gateway.metric("sluice_mqtt_connects_total") == connects


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("topic", ["x/" * 204 + "y", "$SYS/broker", "a//b", "/", "x" * 60000, "%C3%A9/%E2%98%83", "%EF%BF%BF", "%01",
                                   "$share/g/x", "a%0Ab"])
def test_topics_that_brokers_dislike(world, protocol, topic):
    """With mosquitto and its defaults: an error or an acknowledgement, and the connection stays."""
    broker = world.broker()
    gateway = start(world, broker.port, f"  protocol: {protocol}\n", extra="limits: { header: 256KiB }\n",
                    routes='  - topic: "{all...}"\n    channel: "home/{all...}"\n    publish: {}\n')
    status, body = gateway.raw(f"/channels/home/{topic}", "POST", b"1")
    assert status in (200, 400, 403, 404, 502), (status, body)
    stays(gateway, 1)


async def test_too_many_levels(world):
    """Refused before it reaches the broker, in every way to publish; 128 levels are well, 129 are not."""
    broker = world.broker()
    gateway = start(world, broker.port)
    assert gateway.post("/channels/home" + "/x" * 127, b"1").status_code == 200
    deep = "home" + "/x" * 128
    wanted = "the topic has more levels than limits.levels allows"
    for query in ("", "?reply=1s"):
        answer = gateway.post(f"/channels/{deep}{query}", b"1")
        assert answer.status_code == 400 and wanted in answer.text
    async with connect(gateway) as ws:
        for kind in ("publish", "request"):
            await ws.send(type=kind, id=1, channel=deep, data=1)
            error = await ws.until("error")
            assert error["code"] == "bad_request" and error["message"] == wanted
    async with websockets.connect(f"{gateway.ws}/channels/{deep}") as raw:
        await raw.send("1")
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            await asyncio.wait_for(raw.recv(), 5)
        assert wanted in closed.value.reason
    stays(gateway, 1)


class Closing(FakeBroker):
    """Closes on a publish to bad/..., or above 1,000 bytes, as `how` says."""
    how = "eof"

    def publish(self, c, packet):
        if "bad" not in packet["topic"] and packet["size"] < 5000:
            super().publish(c, packet)
        elif isinstance(self.how, int) and c.level == 5:
            c.disconnect(self.how, ReasonString="not that one")
        else:
            c.close(reset=self.how == "reset")


# All reasons for which a broker may disconnect on a PUBLISH (MQTT 5.0 section 3.14.2.1), and those that give none.
REASONS = ["eof", "reset", 0x80, 0x81, 0x82, 0x83, 0x87, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x99, 0x9A, 0x9B]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("how", REASONS)
def test_broker_that_closes_on_a_publish(world, how, qos):
    broker = world.keep(Closing())
    broker.how = how
    gateway = start(world, broker.port, routes=f"  - topic: home/#\n    publish: {{ qos: {qos} }}\n")
    answer = gateway.post("/channels/home/bad", b"1")
    assert answer.status_code == (503 if qos else 202), answer.text
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 2)
    gateway.wait_ready()
    assert gateway.post("/channels/home/fine", b"1").ok
    assert "probably on the one to 'home/bad' (1 bytes, qos %d)" % qos in gateway.text()
    if isinstance(how, int):
        assert f"(0x{how:02x}), it says 'not that one'" in gateway.text()
    # The second time is the last one: it is known now.
    gateway.post("/channels/home/bad", b"1")
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 3)
    gateway.wait_ready()
    again = gateway.post("/channels/home/bad", b"1")
    assert again.status_code == 502 and again.json()["code"] == "rejected"
    stays_at = gateway.metric("sluice_mqtt_connects_total")
    assert gateway.post("/channels/home/fine", b"1").ok and stays_at == 3
    assert [p["topic"] for p in broker.publishes].count("home/bad") == 2
    assert "publishes to 'home/bad' of 1 bytes or more are refused" in gateway.text()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_packets_that_the_broker_finds_too_large(world, protocol):
    """MQTT 5 tells the bound before; with 3.1.1 two publishes find it out, whatever their topics."""
    broker = world.broker(config="allow_anonymous true\nmax_packet_size 20000" if protocol == "5"
                          else "allow_anonymous true\nmessage_size_limit 1000000\nmax_packet_size 20000")
    gateway = start(world, broker.port, f"  protocol: {protocol}\n")
    for number in range(4):
        answer = gateway.post(f"/channels/home/{number}", b"x" * 30000)
        assert answer.status_code == (413 if protocol == "5" else 503 if number < 2 else 502), answer.text
        gateway.wait_ready()
        assert gateway.post("/channels/home/small", b"1").status_code == 200
    assert gateway.metric("sluice_mqtt_connects_total") == (1 if protocol == "5" else 3)


@pytest.mark.parametrize("able, publish, code", [
    ({"MaximumQoS": 0}, "{ qos: 1 }", "rejected"), ({"MaximumQoS": 1}, "{ qos: 2 }", "rejected"),
    ({"RetainAvailable": 0}, "{ retain: true }", "rejected"), ({"MaximumPacketSize": 60}, "{}", "too_large")])
def test_what_the_broker_said_it_cannot_do_is_not_sent(world, able, publish, code):
    broker = world.keep(FakeBroker(**able))
    gateway = start(world, broker.port, routes=f"  - topic: home/#\n    publish: {publish}\n  - topic: low/#\n    publish: {{ qos: 0 }}\n")
    answer = gateway.post("/channels/home/x", b"x" * 100)
    assert answer.json()["code"] == code and not broker.publishes
    assert gateway.post("/channels/low/x", b"1").ok and gateway.metric("sluice_mqtt_connects_total") == 1
    assert "a publish to 'home/x'" in gateway.text()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("policy", ["refuse", "queue"])
@pytest.mark.parametrize("kept", [False, True])
def test_nothing_is_carried_out_after_the_error(world, protocol, policy, kept):
    """The broker takes the connection and goes silent; then another takes its place. What was answered is not sent to it."""
    class Silent(FakeBroker):
        def publish(self, c, packet):
            pass
    first = Silent()
    settings = f"  protocol: {protocol}\n  while_down: {policy}\n" + ("  client_id: keeper\n  session_expiry: 1h\n" if kept else "")
    gateway = start(world, first.port, settings)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        begun = time.monotonic()
        answer = pool.submit(gateway.post, "/channels/home/garage", b"OPEN")
        wait_until(lambda: first.publishes)
        first.end()
        assert answer.result().json()["code"] in (("timeout",) if kept else ("upstream_down",))
        # At once, not after publish_timeout (3 s), unless the session is kept and might go on.
        assert kept or time.monotonic() - begun < 2
        late = gateway.post("/channels/home/door", b"OPEN") # nobody is there
        assert late.json()["code"] in ("upstream_down", "timeout")
    second = world.keep(FakeBroker(first.port, **({} if protocol == "3.1.1" else {"SessionExpiryInterval": 3600})))
    gateway.wait_ready()
    assert gateway.post("/channels/home/fine", b"1").status_code == 200
    assert [p["topic"] for p in second.publishes] == ["home/fine"]


def test_kept_session_goes_on_once(world):
    """Who still waits gets the acknowledgement of the next connection; what broke two connections is given up."""
    class Once(FakeBroker):
        def publish(self, c, packet):
            if packet["topic"] == "home/bad" or (packet["topic"] == "home/once" and not packet["dup"]):
                c.close()
            super().publish(c, packet)
    broker = world.keep(Once(SessionExpiryInterval=3600))
    gateway = start(world, broker.port, "  client_id: keeper\n  session_expiry: 1h\n")
    assert gateway.post("/channels/home/once", b"1").status_code == 200
    assert gateway.post("/channels/home/bad", b"1").json()["code"] == "upstream_down"
    assert [p["topic"] for p in broker.publishes] == ["home/once"] * 2 + ["home/bad"] * 2
    gateway.wait_ready()
    assert gateway.post("/channels/home/fine", b"1").status_code == 200


def test_requests_where_the_response_topic_is_forbidden(world):
    """A broker that closes on the subscription to the response topic does so once, not at each reconnect."""
    class NoResponses(FakeBroker):
        def subscribe(self, c, packet):
            if packet["filters"][0][0].startswith("sluice/response/"):
                c.close()
            super().subscribe(c, packet)
    broker = world.keep(NoResponses())
    gateway = start(world, broker.port)
    assert gateway.post("/channels/home/x?reply=2s", b"1").status_code == 503
    gateway.wait_ready()
    assert gateway.post("/channels/home/x?reply=2s", b"1").status_code == 403
    assert gateway.post("/channels/home/fine", b"1").status_code == 200
    assert gateway.metric("sluice_mqtt_connects_total") == 2
    assert "no requests until the next reload" in gateway.text()


def test_a_loss_is_known_before_its_clients_are_told(world):
    """Who heard that the connection broke does not find the gateway ready after that, until there is a new one."""
    broker = world.keep(Closing())
    gateway = start(world, broker.port)
    for number in range(6):
        assert gateway.post(f"/channels/home/bad{number}", b"1").status_code == 503
        assert gateway.get("/readyz").status_code == 503 or gateway.metric("sluice_mqtt_connects_total") == number + 2
        gateway.wait_ready()


def test_receive_maximum(world):
    """No more than the broker takes at once; the rest waits its turn, or expires without ever having been sent."""
    class Slow(FakeBroker):
        held, most, hold = [], 0, True

        def publish(self, c, packet):
            self.held.append((c, packet))
            self.most = max(self.most, len(self.held))
            if not self.hold:
                self.release()

        def release(self):
            while self.held:
                c, packet = self.held.pop(0)
                super().publish(c, packet)
    broker = world.keep(Slow(ReceiveMaximum=2))
    gateway = start(world, broker.port)
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(gateway.post, f"/channels/home/{n}", b"1") for n in range(6)]
        codes = [answer.result().json().get("code") for answer in answers]
    assert codes == ["timeout"] * 6 and broker.most == 2
    broker.hold = False
    broker.release()
    assert gateway.post("/channels/home/fine", b"1").status_code == 200
    assert len(broker.publishes) == 3 # the four that expired were never sent


def test_broker_that_never_acknowledges_does_not_block_for_ever(world):
    class Deaf(FakeBroker):
        def publish(self, c, packet):
            if "lost" not in packet["topic"]:
                super().publish(c, packet)
    broker = world.keep(Deaf(ReceiveMaximum=2))
    gateway = world.sluice(yaml(broker.port, routes=ROUTES).replace("publish_timeout: 3s", "publish_timeout: 500ms"))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: gateway.post(f"/channels/home/lost{n}", b"1"), range(4)))
    wait_until(lambda: gateway.post("/channels/home/fine", b"1").status_code == 200, 15)
    assert "acknowledges no publishes" in gateway.text()


@pytest.mark.parametrize("qos", [0, 1])
def test_broker_that_stops_reading_fills_no_memory(world, qos):
    """limits.publish_queue bounds what waits, also at QoS 0."""
    stop = threading.Event()

    class Full(FakeBroker):
        def publish(self, c, packet):
            stop.wait(30)
    broker = world.keep(Full())
    gateway = start(world, broker.port, extra="limits: { publish_queue: 50, frame: 1MiB, publishes_per_session: 60000 }\n",
                    routes=f"  - topic: home/#\n    publish: {{ qos: {qos} }}\n")
    codes = []
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        for status in pool.map(lambda n: gateway.post(f"/channels/home/{n}", b"x" * 200000).status_code, range(150)):
            codes.append(status)
    stop.set()
    assert 503 in codes, set(codes)
    assert gateway.rss() < (400 if SANITIZED else 120) << 20


def connections(*gateways):
    """When connections to the broker were complete, by the logs; in order, seconds."""
    lines = [json.loads(line) for gateway in gateways for line in gateway.text().splitlines() if '"connected to ' in line]
    return sorted(datetime.datetime.fromisoformat(line["time"].replace("Z", "+00:00")).timestamp() for line in lines)


def calm(one, two, seconds):
    """Has there been a pause of so many seconds between two connections, or since the last one?"""
    times = connections(one, two) + [datetime.datetime.now(datetime.timezone.utc).timestamp()]
    return any(after - before > seconds for before, after in zip(times, times[1:]))


def test_two_gateways_with_one_client_id(world):
    """They don't throw each other out ever faster, and the third time the log asks."""
    broker = world.broker()
    settings = "  client_id: twin\n"
    one = world.sluice(yaml(broker.port, routes=ROUTES, broker=settings).replace("max: 500ms", "max: 30s"))
    two = world.sluice(yaml(broker.port, routes=ROUTES, broker=settings).replace("max: 500ms", "max: 30s"), ready=False)
    wait_until(lambda: "another client with the id 'twin'? Give each its own broker.client_id" in one.text() + two.text(), 20)
    wait_until(lambda: calm(one, two, 2), 60, "two seconds without a connection")
    assert len(connections(one, two)) < 25
    old = [world.sluice(yaml(broker.port, routes=ROUTES, broker="  client_id: old\n  protocol: 3.1.1\n"), ready=False)
           for _ in range(2)]
    wait_until(lambda: "another client with the id 'old'?" in old[0].text() + old[1].text(), 20)
