"""What the broker does not grant is told: in /readyz, in /metrics, and once in the log; and it is asked for again."""
import base64
import hashlib
import json
import signal

import paho.mqtt.client as paho
import pytest
from conftest import yaml
from fake_broker import FakeBroker
from harness import wait_until

ROUTES = "  - topic: good/#\n  - topic: bad/{device}\n    channel: devices/{device}\n  - topic: bad/one\n    channel: one\n    qos: 0\n"


class Choosy(FakeBroker):
    """Answers SUBSCRIBE by filter: the QoS that it grants, or a code of refusal."""

    def __init__(self, **answers):
        super().__init__()
        self.answers = {name.replace("_", "/").replace("ALL", "#").replace("ONE", "+"): code for name, code in answers.items()}

    def subscribe(self, c, packet):
        name, options = packet["filters"][0]
        c.suback(packet["mid"], [self.answers.get(name, options & 3)])


def ready(gateway):
    answer = gateway.get("/readyz")
    assert answer.status_code == 200
    return answer.json()


def subscriptions(gateway):
    return ready(gateway)["subscriptions"]


def granted(gateway):
    """How many; None while it is not ready."""
    answer = gateway.get("/readyz")
    return answer.json()["subscriptions"]["granted"] if answer.status_code == 200 else None


def refused(gateway, reason):
    return gateway.metric('sluice_mqtt_subscriptions_refused{reason="%s"}' % reason)


def lines(gateway, words):
    return [line for line in gateway.text().splitlines() if words in line]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_refused_filter(world, protocol):
    broker = world.keep(Choosy(bad_ONE=0x87 if protocol == "5" else 0x80))
    gateway = world.sluice(yaml(broker.port, ROUTES, broker=f"  protocol: {protocol}\n"))
    word, code = ("not_authorized", 0x87) if protocol == "5" else ("unspecified", 0x80)
    assert ready(gateway) == {"status": "ready", "subscriptions": {"granted": 1, "wanted": 2, "lowered": [], "refused": [
        {"filter": "bad/+", "reason": word, "code": code, "routes": ["bad/{device}", "bad/one"]}]}}
    assert gateway.metric("sluice_mqtt_subscriptions") == 2 and gateway.metric("sluice_mqtt_subscriptions_granted") == 1
    assert refused(gateway, word) == 1
    assert f"1 of 2 subscription(s); without 'bad/+' ({word})" in gateway.text()
    # A reconnect asks again, and does not tell the same again.
    broker.cut()
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 2)
    gateway.wait_ready()
    assert subscriptions(gateway)["granted"] == 1
    assert len(lines(gateway, "the broker refused the subscription to 'bad/+'")) == 1
    # Another reason is news; so is that it is granted.
    broker.answers["bad/+"] = 0x83
    broker.cut()
    wait_until(lambda: len(lines(gateway, "the broker refused the subscription to 'bad/+'")) == 2)
    del broker.answers["bad/+"]
    broker.cut()
    wait_until(lambda: lines(gateway, "the broker grants the subscription to 'bad/+' now"))
    wait_until(lambda: granted(gateway) == 2)
    assert subscriptions(gateway) == {"granted": 2, "wanted": 2, "refused": [], "lowered": []}
    assert refused(gateway, "not_authorized") == 0


def test_a_reload_asks_again(world):
    broker = world.keep(Choosy(bad_ONE=0x87))
    gateway = world.sluice(yaml(broker.port, ROUTES))
    asked = [packet["filters"][0][0] for packet in broker.subscribes]
    gateway.signal(signal.SIGHUP) # still refused: asked for, and nothing new is told
    wait_until(lambda: len(broker.subscribes) == len(asked) + 1)
    wait_until(lambda: "reloaded" in gateway.text())
    assert subscriptions(gateway)["granted"] == 1
    del broker.answers["bad/+"]
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: granted(gateway) == 2)
    assert len(lines(gateway, "the broker refused the subscription to 'bad/+'")) == 1
    assert [packet["filters"][0][0] for packet in broker.subscribes].count("good/#") == asked.count("good/#")
    # A refused one that leaves the file is wanted no more.
    broker.answers["bad/+"] = 0x87
    broker.cut()
    wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == 2)
    gateway.wait_ready()
    assert subscriptions(gateway)["granted"] == 1
    gateway.config.write_text(yaml(broker.port, "  - topic: good/#\n"))
    gateway.signal(signal.SIGHUP)
    wait_until(lambda: subscriptions(gateway) == {"granted": 1, "wanted": 1, "refused": [], "lowered": []})
    assert len(broker.connects) == 2


def test_a_lower_qos_is_told(world):
    broker = world.keep(Choosy(good_ALL=0))
    gateway = world.sluice(yaml(broker.port, "  - topic: good/#\n    qos: 1\n  - topic: other/#\n    qos: 1\n"))
    assert subscriptions(gateway) == {"granted": 2, "wanted": 2, "refused": [], "lowered": [
        {"filter": "good/#", "qos": 0, "wanted": 1, "routes": ["good/#"]}]}
    assert gateway.metric("sluice_mqtt_subscriptions_lowered") == 1
    for count in (2, 3):
        broker.cut()
        wait_until(lambda: gateway.metric("sluice_mqtt_connects_total") == count)
        gateway.wait_ready()
    assert len(lines(gateway, "grants qos 0 instead of 1 for 'good/#'")) == 1


def test_many_refusals_are_counted_and_some_are_named(world):
    class Closed(FakeBroker):
        def subscribe(self, c, packet):
            c.suback(packet["mid"], [0x97])
    broker = world.keep(Closed())
    gateway = world.sluice(yaml(broker.port, "".join(f"  - topic: {'x' * 100}/{n}/#\n" for n in range(500))))
    state = subscriptions(gateway)
    assert (state["granted"], state["wanted"], len(state["refused"]), state["more"]) == (0, 500, 20, 480)
    assert refused(gateway, "quota_exceeded") == 500
    assert len(gateway.get("/readyz").content) < 16384
    assert max(len(line) for line in gateway.text().splitlines()) < 2000


def test_a_filter_that_is_left_out(world):
    class Cutting(FakeBroker):
        def subscribe(self, c, packet):
            if packet["filters"][0][0] == "bad/+":
                c.close()
            super().subscribe(c, packet)
    broker = world.keep(Cutting())
    gateway = world.sluice(yaml(broker.port, ROUTES))
    assert subscriptions(gateway)["refused"] == [
        {"filter": "bad/+", "reason": "connection_closed", "routes": ["bad/{device}", "bad/one"]}]
    assert refused(gateway, "connection_closed") == 1


def dynamic_security(world, allowed):
    """A mosquitto whose dynamic security plug-in lets the gateway subscribe to these filters."""
    def user(name, *roles):
        salt = b"0123456789ab"
        key = hashlib.pbkdf2_hmac("sha512", b"pw", salt, 101, 64)
        return {"username": name, "password": base64.b64encode(key).decode(), "salt": base64.b64encode(salt).decode(),
                "iterations": 101, "roles": [{"rolename": role} for role in roles]}

    def acls(kind, *topics):
        return [{"acltype": kind, "topic": topic, "priority": 0, "allow": True} for topic in topics]
    admin = acls("publishClientSend", "#", "$CONTROL/dynamic-security/#") + acls("subscribePattern", "#", "$CONTROL/dynamic-security/#")
    state = {"defaultACLAccess": {"publishClientSend": False, "publishClientReceive": True, "subscribe": False, "unsubscribe": True},
             "clients": [user("admin", "admin"), user("gateway", "gateway")],
             "groups": [], "roles": [{"rolename": "admin", "acls": admin}, {"rolename": "gateway", "acls": acls("subscribePattern", *allowed)}]}
    path = world.directory / "dynamic-security.json"
    path.write_text(json.dumps(state))
    path.chmod(0o600)
    return world.broker(config="allow_anonymous false\nplugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\n"
                               f"plugin_opt_config_file {path}")


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_mosquitto_with_dynamic_security(world, protocol):
    """It refuses with 0x87, or with 0x80 where 3.1.1 is spoken; and it cuts the clients whose rights an operator changes, so that
    what is allowed later comes by itself."""
    broker = dynamic_security(world, ["good/#"])
    gateway = world.sluice(yaml(broker.port, ROUTES, broker=f"  username: gateway\n  password: pw\n  protocol: {protocol}\n"))
    entry = subscriptions(gateway)["refused"][0]
    assert (entry["filter"], entry["code"]) == ("bad/+", 0x87 if protocol == "5" else 0x80)
    client = paho.Client()
    client.username_pw_set("admin", "pw")
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        command = {"command": "addRoleACL", "rolename": "gateway", "acltype": "subscribePattern", "topic": "bad/+", "priority": 0, "allow": True}
        client.publish("$CONTROL/dynamic-security/v1", json.dumps({"commands": [command]}), qos=1).wait_for_publish(10)
        wait_until(lambda: granted(gateway) == 2)
        client.publish("bad/7", b"1", qos=1).wait_for_publish(10)
        wait_until(lambda: gateway.get("/channels/devices/7").status_code == 200)
    finally:
        client.disconnect()
        client.loop_stop()


def test_mosquitto_with_an_acl_file(world):
    """It grants everything and delivers nothing of what is denied, with MQTT 5 too: nothing can be told of that. If this fails,
    mosquitto has learnt to say it, and docs/operations.md is out of date."""
    acl = world.directory / "acl"
    acl.write_text("topic readwrite good/#\ntopic deny bad/#\n")
    broker = world.broker(config=f"allow_anonymous true\nacl_file {acl}")
    gateway = world.sluice(yaml(broker.port, ROUTES))
    assert subscriptions(gateway)["granted"] == 2
