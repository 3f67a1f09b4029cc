"""A session that the broker keeps has the subscriptions of the configuration before (issue: In the field, C5): the gateway gives
up what its file no longer has, and loses nothing of the rest."""
import pytest
from conftest import yaml
from fake_broker import FakeBroker
from harness import wait_until

KEPT = "  client_id: keeper\n  session_expiry: 1h\n  protocol: %s\n"
STAYS = "  - { topic: stays/#, qos: 1, history: { count: 1000 } }\n"


def history(gateway):
    return [message["data"] for message in gateway.get("/channels/stays/1/history").json()["messages"]]


def received(gateway):
    return gateway.metric("sluice_mqtt_received_total")


def settle(gateway, client, n):
    """Everything before this has come: the broker delivers in order."""
    client.publish("stays/1", str(n).encode())
    wait_until(lambda: history(gateway)[-1:] == [n])


GONE = [("gone/#", "gone/7/x"), ("gone/{id}/x", "gone/7/x"), ("+/7/#", "gone/7/x"), ("gone/7/x", "gone/7/x"), ("#", "other"),
        ("{a}/{b}/{c}/{d}/x", "1/2/3/4/x"), ("/lead/{x}", "/lead/1")]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("route, topic", GONE, ids=[row[0].replace("/", "_") for row in GONE])
def test_a_route_that_is_gone_after_a_restart(world, protocol, route, topic):
    broker = world.broker()
    client = world.mqtt(broker.port)
    with_it = yaml(broker.port, STAYS + f"  - {{ topic: '{route}', qos: 1 }}\n", broker=KEPT % protocol)
    without = yaml(broker.port, STAYS, broker=KEPT % protocol)
    gateway = world.sluice(with_it)
    client.publish(topic, b"1")
    wait_until(lambda: received(gateway) == 1)
    gateway.stop()
    # While it is away the broker keeps messages of both.
    for n in range(20):
        client.publish("stays/1", str(n).encode())
        client.publish(topic, b"2")
    gateway = world.sluice(without)
    wait_until(lambda: history(gateway) == list(range(20)))
    client.publish(topic, b"3")
    if route != "#" or protocol != "5": # it brings the others too, and their identifiers have told before
        wait_until(lambda: "subscriptions of an earlier configuration" in gateway.text())
    settle(gateway, client, 100)

    def is_gone():
        before = received(gateway)
        client.publish(topic, b"4")
        settle(gateway, client, history(gateway)[-1] + 1)
        return received(gateway) == before + 1
    wait_until(is_gone)
    numbers = history(gateway)
    assert numbers == list(range(20)) + list(range(100, 100 + len(numbers) - 20))
    # And it is gone from the session: nothing is queued for the next start, while the rest is.
    unrouted = gateway.metric("sluice_mqtt_unrouted_total")
    assert unrouted >= 20
    gateway.stop()
    client.publish(topic, b"5")
    client.publish("stays/1", b"1000")
    gateway = world.sluice(without)
    wait_until(lambda: history(gateway)[-1:] == [1000])
    settle(gateway, client, 1001)
    assert gateway.metric("sluice_mqtt_unrouted_total") == 0
    assert "earlier configuration" not in gateway.text()


def test_a_narrower_filter_than_the_one_that_stays(world):
    """Its messages are wanted, but come twice until it is gone: the identifier, which is the last process's, tells."""
    broker = world.broker()
    client = world.mqtt(broker.port)
    gateway = world.sluice(yaml(broker.port, "  - { topic: stays/1, qos: 1, history: { count: 1000 } }\n", broker=KEPT % "5"))
    settle(gateway, client, 1)
    gateway.stop()
    gateway = world.sluice(yaml(broker.port, STAYS, broker=KEPT % "5"))
    client.publish("stays/1", b"2")
    wait_until(lambda: history(gateway)[-1:] == [2])

    def once():
        before, n = received(gateway), history(gateway)[-1] + 1
        settle(gateway, client, n)
        client.publish("stays/2", str(n).encode())
        wait_until(lambda: gateway.get("/channels/stays/2").status_code == 200 and gateway.get("/channels/stays/2").json()["data"] == n)
        return received(gateway) == before + 2
    wait_until(once)


def test_no_session_no_search(world):
    """Without a kept session there are no subscriptions of before: what matches no route is counted, and nothing else happens."""
    class Odd(FakeBroker):
        unsubscribes = 0

        def connect(self, c):
            c.connack(present=self.present)
    for present in (0, 1):
        broker = world.keep(Odd())
        broker.present = present
        gateway = world.sluice(yaml(broker.port, STAYS, broker=KEPT % "5"))
        for _ in range(5):
            broker.connections[-1].publish("strange/1", b"1")
        wait_until(lambda: gateway.metric("sluice_mqtt_unrouted_total") == 5)
        # One line however many there are.
        assert gateway.text().count("subscriptions of an earlier configuration") == present
        assert len(broker.connects) == 1
