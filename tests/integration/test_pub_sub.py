"""`sluice pub` and `sluice sub`: a gateway from a terminal."""
import json
import re
import socket
import subprocess

import harness
import pytest
from command import run, with_secret
from conftest import yaml
from harness import BINARY, free_port, wait_until
from tlsfiles import certificate

NAMES = ["a/b", "a/b c", "a//x", "/a/ü", "a/100%", "a/?x=1", "-5/x"]


@pytest.mark.parametrize("address", ["v4", "any", "v6", "unix", "base path"])
def test_pub_and_sub(world, address):
    """What is published arrives at a stock MQTT client as it was, and comes back as messages."""
    broker, port = world.broker(), free_port()
    listen = {"v6": f"'[::1]:{port}'", "any": f"0.0.0.0:{port}", "unix": f"unix:{world.directory}/s.sock"}.get(address, f"127.0.0.1:{port}")
    extra = "web: { base_path: /live }\n" if address == "base path" else ""
    file = world.directory / "pubsub.yaml"
    file.write_text(yaml(broker.port, "  - { topic: '{all...}', publish: {} }", listen=listen, extra=extra))
    gateway = world.keep(harness.Process([BINARY, "-c", str(file)], world.directory / "pubsub.log"))
    wait_until(lambda: "subscription(s)" in gateway.text())
    device = world.mqtt(broker.port, subscribe=["#"])
    wait_until(lambda: run("pub", "ready", "1", "-c", str(file)).returncode == 0)
    for name in NAMES:
        result = run("pub", "-c", str(file), "--", name, "21.50")
        assert result.returncode == 0 and result.stdout == "published: the broker has acknowledged it\n", result
    wait_until(lambda: all(device.payloads(name) == [b"21.50"] for name in NAMES))
    result = run("sub", "a/#", "-c", str(file), "--count", "4")
    messages = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0 and not result.stderr and len(messages) == 4
    assert all('"data":21.50,' in line for line in result.stdout.splitlines()) # the bytes of the device
    result = run("sub", "--cursor", messages[0]["cursor"], "--count=1", "-c", str(file), messages[1]["channel"])
    assert result.returncode == 0 and json.loads(result.stdout)["cursor"] == messages[1]["cursor"]


@pytest.mark.parametrize("kind", ["tls", "proxy_protocol"])
def test_pub_to_other_listeners(world, kind):
    """A certificate of its own is no obstacle on the own machine, but one for a URL; a PROXY header is sent where it is wanted."""
    broker, port = world.broker(), free_port()
    cert, key = certificate(world.directory, "own")
    more = f"tls: {{ cert_file: {cert}, key_file: {key} }}" if kind == "tls" else "proxy_protocol: true"
    gateway = world.sluice(yaml(broker.port, "  - { topic: a/#, publish: {} }", listen=f"127.0.0.1:{port}\n    {more}",
                                extra="web: { trusted_proxies: [127.0.0.0/8] }\n"), ready=False)
    wait_until(lambda: "subscription(s)" in gateway.text())
    device = world.mqtt(broker.port, subscribe=["#"])
    wait_until(lambda: run("pub", "a/x", "7", "-c", str(gateway.config)).returncode == 0)
    wait_until(lambda: b"7" in device.payloads("a/x"))
    if kind == "tls":
        result = run("pub", "a/x", "8", "--url", f"https://localhost:{port}")
        assert result.returncode == 1 and "certificate" in result.stderr, result
        assert b"8" not in device.payloads("a/x")


def test_pub_reads_values(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, "  - { topic: a/#, codec: base64, publish: {} }\n  - { topic: q/#, publish: { qos: 0 } }"))
    device = world.mqtt(broker.port, subscribe=["#"])
    value = bytes(range(256)) * 300
    result = subprocess.run([BINARY, "pub", "a/x", "-", "--url", gateway.http], input=value, capture_output=True, timeout=30)
    assert result.returncode == 0, result
    assert run("pub", "a/y", "-5", "--url", gateway.http + "/").returncode == 0
    assert run("pub", "a/z", "", "--url", gateway.http).returncode == 0
    assert "accepted" in run("pub", "q/x", "1", "--url", gateway.http).stdout
    wait_until(lambda: device.payloads("a/x") == [value] and device.payloads("a/y") == [b"-5"] and device.payloads("a/z") == [b""])


def test_sub_goes_on(world):
    """A gateway that stops and starts again with its store, and a broken stream: each message once, in order."""
    broker, port = world.broker(), free_port()
    text = yaml(broker.port, "  - { topic: n/#, history: { store: disk } }", listen=f"127.0.0.1:{port}",
                extra=f"storage: {{ path: {world.directory}/store }}\n")
    gateway = world.sluice(text)
    device = world.mqtt(broker.port)
    listener = world.keep(harness.Process([BINARY, "sub", "n/x", "--url", gateway.http, "--count", "20"], world.directory / "sub.log"))

    def got():
        return [json.loads(line)["data"] for line in listener.text().splitlines() if line.startswith("{")]
    device.publish("n/x", b"0")
    wait_until(lambda: got() == [0])
    for i in range(1, 10):
        device.publish("n/x", str(i))
    wait_until(lambda: got() == list(range(10)))
    gateway.stop()
    world.sluice(text)
    for i in range(10, 20):
        device.publish("n/x", str(i))
    assert listener.wait(30) == 0
    assert got() == list(range(20)), listener.text()
    assert "going on from the last cursor" in listener.text()


def test_pub_and_sub_refusals(world):
    broker = world.broker()
    file = with_secret(world.directory)
    text = file.read_text().replace("listen:\n  - address: 127.0.0.1:0", f"listen:\n  - address: 127.0.0.1:{free_port()}")
    gateway = world.sluice(re.sub(r"127.0.0.1:\d+\n  keepalive", f"127.0.0.1:{broker.port}\n  keepalive", text))
    own = ["-c", str(gateway.config)]
    token = run("token", *own, "--subject", "a", "--role", "viewer", "--role", "editor", "--claim", "site=north").stdout.strip()
    assert run("pub", "plants/north/x", "1", *own, "--token", token).returncode == 0
    piped = subprocess.run([BINARY, "pub", "plants/north/y", "-", *own, "--token", "-"], input=f"{token}\nvalue", capture_output=True, text=True, timeout=30)
    assert piped.returncode == 0, piped
    assert json.loads(run("sub", "plants/north/y", *own, "--token", token, "--count", "1").stdout)["data"] == "value"
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0)) # nothing listens there
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for args, status, said in (
                (["pub", "plants/x", "1", *own], 1, "--token with a valid one is expected"), (["sub", "plants/#", *own], 1, "--token with a valid one"),
                (["sub", "plants/#", *own, "--token", token], 1, "forbidden: "), (["pub", "other/x", "1", *own, "--token", token], 1, ": "),
                (["pub", "plants/#", "1", *own, "--token", token], 1, ": "), (["sub", "a/#/b", *own, "--token", token], 1, "bad_request: "),
                (["pub", "a", "1", "--url", nobody], 1, f"no answer from {nobody}"), (["pub", "a", "1", "--url", nobody[7:]], 1, "is the gateway running"),
                (["sub", "a", "--url", f"http://127.0.0.1:{broker.port}"], 1, "not that of the broker"), (["sub", "a/#/b", *own, "--token", token], 1, "# only as the last"),
                (["sub", "a", "--url", gateway.http.replace("http", "https")], 1, "does this listener have tls:"), (["sub", "a", "--url", "http://host.invalid"], 1, "check the host's name"),
                (["pub", "other/x", "1", *own, "--token", token], 1, "no role of this client may publish here"), (["sub", "a", "--url", nobody], 1, f"no answer from {nobody}"),
                (["pub", "a", "1", "--url", f"{gateway.http}/none", "--token", token], 1, "not_found"), (["pub", "a", "1", "--url", "ftp://x"], 2, "such as http://localhost:8080"),
                (["sub", "a", "--url", "localhost:8080", "--count", "0"], 2, "a number from 1"), (["pub", "a", *own], 2, "CHANNEL VALUE"),
                (["pub", "a", "1", "-c", "/nonexistent"], 2, "give -c FILE")):
            result = run(*args)
            assert result.returncode == status and not result.stdout and said in result.stderr and result.stderr.startswith(("sluice: ", "/")), (args, result)


def test_pub_says_what_is_wrong_with_a_value(world):
    gateway = world.sluice(yaml(world.broker().port, "  - { topic: read/+ }\n  - { topic: json/+, codec: json, publish: true }\n  - { topic: number/+, codec: number, publish: true }"))
    for channel, value, said in (
            ("read/x", "1", "forbidden: the route of this channel has no publish:"), ("json/x", "{state:on}", "not_json: the data is not valid JSON (names and texts in double"),
            ("json/x", "{'state':'on'}", "in double quotes"), ("number/x", "warm", "bad_request: the payload is none that the codec")):
        result = run("pub", channel, value, "--url", gateway.http)
        assert result.returncode == 1 and not result.stdout and said in result.stderr, result
    assert run("pub", "json/x", '{"state":"on"}', "--url", gateway.http).returncode == 0


def test_pub_knows_who_is_no_gateway():
    """Another web server on that port is not taken for a gateway that says no."""
    import http.server
    import threading
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        result = run("pub", "a", "1", "--url", f"http://127.0.0.1:{server.server_port}")
        assert result.returncode == 1 and "not as a gateway does" in result.stderr, result
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
