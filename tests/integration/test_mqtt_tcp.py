"""MQTT without WebSocket: listeners with `protocol: mqtt`, with and without TLS."""
import contextlib
import socket
import subprocess

import pytest
from conftest import yaml
from harness import wait_until
from mqttclients import BOTH, Paho
from tlsfiles import certificate, ports, with_listeners

pytestmark = pytest.mark.sanitize


@pytest.fixture(scope="module")
def plain(shared):
    """A gateway with one port for the web, one for MQTT and one for MQTT over TLS."""
    cert, key = certificate(shared.directory, "mqtt")
    listeners = (f"  - {{ address: 127.0.0.1:0, protocol: mqtt }}\n"
                 f"  - {{ address: 127.0.0.1:0, protocol: mqtt, tls: {{ cert_file: {cert}, key_file: {key} }} }}\n")
    gateway = shared.sluice(with_listeners(yaml(shared.main_broker.port), listeners))
    _, gateway.mqtt, gateway.mqtts = ports(gateway)
    gateway.ca = cert
    return gateway


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_sub_and_pub(plain, client, shared, version, tls):
    where = ["-h", "127.0.0.1", "-V", version] + (["-p", str(plain.mqtts), "--cafile", str(plain.ca)] if tls else ["-p", str(plain.mqtt)])
    name = f"rooms/mosquitto{version}{tls}/t"
    client.publish(name, "last")
    wait_until(lambda: plain.get("/channels/" + name).status_code == 200)
    got = subprocess.run(["mosquitto_sub", *where, "-q", "1", "-t", f"rooms/mosquitto{version}{tls}/#", "-C", "1", "-F", "%t %r %p"], capture_output=True,
                         text=True, timeout=20)
    assert got.stdout == name + " 1 last\n", got
    device = shared.mqtt(shared.main_broker.port, subscribe=[f"lamps/m{version}{tls}"])
    for qos, payload in (("1", "ON"), ("2", "a\nb")):
        subprocess.run(["mosquitto_pub", *where, "-q", qos, "-t", f"lamps/m{version}{tls}", "-l"], input=payload + "\n", text=True, check=True,
                       timeout=20)
    wait_until(lambda: device.payloads(f"lamps/m{version}{tls}") == [b"ON", b"a", b"b"])


@BOTH
def test_paho_over_tcp(plain, client, version):
    watcher = Paho(plain, version=version, transport="tcp", port=plain.mqtt).connected()
    try:
        assert watcher.subscribe(f"rooms/tcp{version}/#", 0) == [0]
        for i in range(200):
            client.publish(f"rooms/tcp{version}/t", str(i))
        wait_until(lambda: watcher.got(f"rooms/tcp{version}/t") == [b"%d" % i for i in range(200)])
        watcher.publish("lamps/tcp", "x", 2)
    finally:
        watcher.close()


def test_rubbish_over_tcp(plain):
    for data in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\x05hello", b"\0" * 1000, bytes(range(256)) * 300):
        with socket.create_connection(("127.0.0.1", plain.mqtt), 15) as raw:
            with contextlib.suppress(ConnectionError):
                raw.sendall(data)
                while raw.recv(4096):
                    pass
    assert plain.get("/healthz").status_code == 200
