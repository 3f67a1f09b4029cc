"""Every retained message arrives, however many there are, from a mosquitto with its defaults (issue: In the field, C2)."""
import paho.mqtt.client as mqtt
import pytest
from conftest import yaml
from harness import SANITIZED, wait_until

ROUTES = "  - { topic: many/#, qos: 1 }\n"


def retain(port, count, first=0):
    """Retained messages, each acknowledged before this returns."""
    client = mqtt.Client()
    client.max_inflight_messages_set(1000)
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", port)
    client.loop_start()
    last = None
    for number in range(first, first + count):
        last = client.publish(f"many/{number // 100}/{number}", str(number), qos=1, retain=True)
    last.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def channels(gateway):
    return int(gateway.metric("sluice_channels"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("count", [5000] if SANITIZED else [5000, 50000])
def test_all_of_them_arrive(world, protocol, count):
    broker = world.broker(config="allow_anonymous true")
    retain(broker.port, count)
    gateway = world.sluice(yaml(broker.port, ROUTES, broker=f"  protocol: {protocol}\n"))
    wait_until(lambda: channels(gateway) == count, 60, "every retained topic")
    # What is published now arrives once, at the QoS of the route, and the ones that come again are no news.
    before = gateway.metric("sluice_messages_total")
    retain(broker.port, 10, first=count)
    wait_until(lambda: channels(gateway) == count + 10, 20, "the new ones")
    assert gateway.metric("sluice_messages_total") - before <= count + 10
    assert gateway.get(f"/channels/many/{(count - 1) // 100}/{count - 1}").json()["data"] == count - 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_all_of_them_arrive_after_a_reconnect(world, protocol):
    """The broker goes, gets more of them while the gateway is away, and comes back."""
    broker = world.broker(config=f"allow_anonymous true\npersistence true\npersistence_location {world.directory}/\nautosave_interval 0")
    retain(broker.port, 3000)
    gateway = world.sluice(yaml(broker.port, ROUTES, broker=f"  protocol: {protocol}\n"))
    wait_until(lambda: channels(gateway) == 3000, 60, "every retained topic")
    broker.end(politely=True)
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    other = world.broker(config=f"allow_anonymous true\npersistence true\npersistence_location {world.directory}/")
    retain(other.port, 3000, first=3000)
    other.end(politely=True)
    broker.start()
    wait_until(lambda: channels(gateway) == 6000, 60, "those that came while it was away")


def test_no_live_message_is_lost_between_the_two_subscriptions(world):
    """A publisher that never pauses, through twenty connections of the gateway: each run of numbers has no hole once it has begun."""
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 0")
    gateway = world.sluice(yaml(broker.port, "  - { topic: live/n, qos: 1, history: { count: 100000, bytes: 32MiB } }\n"), ready=False)
    client = world.mqtt(broker.port)
    for number in range(5000):
        client.publish("live/n", str(number).encode(), qos=1, retain=True)
    wait_until(lambda: gateway.get("/channels/live/n").json().get("data") == 4999, 30, "the last one")
    seen = [message["data"] for message in gateway.get("/channels/live/n/history?limit=100000").json()["messages"]]
    live = [number for number in seen if number >= seen[0]]
    assert live == sorted(set(live)) and live == list(range(live[0], 5000)) or live[1:] == list(range(live[1], 5000)), live[:20]
