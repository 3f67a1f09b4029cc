"""Messages that a session kept were queued under subscription identifiers of another process: of another gateway, or of the last one.

With many routes, and processes that start at the same time, none of them may be taken for another route's.
"""
import sys

import cluster
from harness import ROOT, Broker, Mqtt, Sluice, wait_until

sys.path.insert(0, str(ROOT / "tests/cluster"))
import cases  # noqa: E402

NAMES = [f"plant{i}/t" for i in range(60)]
ROUTES = "\n".join(f'  - {{ topic: "{name}", qos: 1, history: {{ count: 10 }} }}' for name in NAMES)
ONE = """
broker: { url: "mqtt://127.0.0.1:%d", client_id: one, session_expiry: 1h }
listen: [ { address: "127.0.0.1:0" } ]
workers: 1
routes:
%s
"""


def has(gateway, value):
    return [name for name in NAMES if gateway.get(f"/channels/{name}").json().get("data") == value]


def publish(device, value):
    for name in NAMES:
        device.publish(name, str(value))


def test_another_gateway_takes_over(tmp_path):
    with cases.World(tmp_path, nodes=2, routes=ROUTES) as world:
        device = Mqtt(world.plain)
        try:
            first = world.leader()
            publish(device, 1)
            wait_until(lambda: has(first, 1) == NAMES, what="the messages")
            first.end()
            publish(device, 2)  # nobody leads: the broker keeps them
            other = wait_until(lambda: next((node for node in world.nodes if node is not first and node.leads()), None), what="another leader")
            device.publish(NAMES[0], b"3")
            wait_until(lambda: other.get(f"/channels/{NAMES[0]}").json()["data"] == 3, what="the message behind them")
            assert has(other, 2) == NAMES[1:]
        finally:
            device.close()


def test_a_gateway_comes_back_at_once(tmp_path):
    broker = Broker(tmp_path, config=cluster.BROKER)
    device, gateways = Mqtt(broker.port), []
    try:
        for value in (1, 2):
            gateways.append(Sluice(tmp_path, ONE % (broker.port, ROUTES), f"gateway-{value}"))
            device.publish(NAMES[0], b"0")
            wait_until(lambda: gateways[-1].get(f"/channels/{NAMES[0]}").json().get("data") == 0, what="the message behind them")
            assert value == 1 or has(gateways[-1], 1) == NAMES[1:]
            gateways[-1].end()
            publish(device, value)
    finally:
        device.close()
        for process in (*gateways, broker):
            process.end()
