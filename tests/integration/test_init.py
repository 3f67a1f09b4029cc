"""`sluice init` writes a first configuration from what a broker sends."""
import subprocess

import pytest
import requests
import yaml
from command import run
from harness import BINARY, free_port, wait_until


def retained(world, broker, topics):
    device = world.mqtt(broker.port)
    for topic, payload in topics.items():
        device.publish(topic, payload, retain=True)


@pytest.mark.parametrize("topics, routes", [
    ({"z/lamp": b'{"a":1}', "z/plug": b"[]"}, {"z/{device}": "json"}),
    ({"zigbee2mqtt/lamp": b'{"state":"ON"}', "zigbee2mqtt/plug": b'{"power":3}', "zigbee2mqtt/lamp/availability": b"online", "zigbee2mqtt/plug/availability": b"offline"},
     {"zigbee2mqtt/{device}": "json", "zigbee2mqtt/{device}/availability": "auto"}),
    ({"tele/p1/STATE": b'{"POWER":"ON"}', "tele/p2/STATE": b'{"POWER":"OFF"}', "tele/p1/LWT": b"Online", "tele/p2/LWT": b"Online", "stat/p1/POWER": b"ON", "stat/p2/POWER": b"ON"},
     {"tele/{device}/STATE": "json", "tele/{device}/LWT": "auto", "stat/{device}/POWER": "auto"}),
    ({"s/a/one": b"1", "s/b/two": b"2"}, {"s/#": "auto"}),
    ({"u/a//": b"1", "u/b//": b"2", "v/x/{y}": b"1", "v/z/{y}": b"1"}, {"u/#": "auto", "v/#": "auto"}),
    ({"z/lamp": b'{"a":1}', "z/lamp/state": b"ON"}, {"z/lamp/#": "auto"}),
    ({"lamp": b'{"a":1}', "lamp/state": b"ON"}, {"lamp": "json", "lamp/state": "auto"}),
    ({"z/a": b"{'a':1,}", "z/b": b'{"a":NaN}'}, {"z/{device}": "lenient"}),
    ({"raw": b"\xff\x00", "t": b"21.5", "": b""}, {"raw": "auto", "t": "auto"}),
    ({"/lead/x": b"1", "a//b": b"{}", "a b/c": b"{}", 'quote"\\/ü': b"1"}, {"/#": "auto", "a/#": "json", "a b/#": "json", 'quote"\\/#': "auto"}),
    ({"$x{a}/b": b"1", "a{b}/c": b"{}", "d": b"1"}, {"#": "auto"}),
    ({f"d{i}/v": b"{}" for i in range(50)}, {"#": "json"}),
    ({f"home/r{i}/{kind}": value for i in range(4) for kind, value in (("t", b"1"), ("s", b"{}"))},
     {"home/{device}/t": "auto", "home/{device}/s": "json"}),
])
def test_init_writes_what_it_saw(world, topics, routes):
    """A configuration that passes the check, and with which a gateway has a value for every topic that there was."""
    broker = world.broker()
    topics = {topic: payload for topic, payload in topics.items() if topic}
    retained(world, broker, topics)
    file = world.directory / "made.yaml"
    result = run("init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--for", "300ms", "--output", str(file))
    assert result.returncode == 0 and not result.stdout, result
    assert {route["topic"]: route["codec"] for route in yaml.safe_load(file.read_text())["routes"]} == routes
    assert run("check", str(file)).returncode == 0
    gateway = world.sluice(file.read_text().replace("127.0.0.1:8080", "127.0.0.1:0"))
    for topic, payload in topics.items():
        if payload and not topic.startswith("$"):
            wait_until(lambda: gateway.get("/channels/" + requests.utils.quote(topic, safe="")).status_code == 200, what=topic)
    again = run("init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--output", str(file))
    assert again.returncode == 2 and "never replaces" in again.stderr
    printed = run("init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--for", "300ms")
    assert printed.stdout == file.read_text()


def test_init_refusals(world):
    empty = world.broker()
    (world.directory / "passwords").write_text("")
    subprocess.run(["mosquitto_passwd", "-b", str(world.directory / "passwords"), "anna", "right"], check=True)
    closed = world.broker(config=f"allow_anonymous false\npassword_file {world.directory}/passwords")
    (world.directory / "pass").write_text("right\n")
    (world.directory / "wrong").write_text("wrong\n")
    nobody = free_port()
    closed_url = f"mqtt://127.0.0.1:{closed.port}"
    for args, status, said in (
            ([], 2, "--broker URL is expected"), (["--broker", f"mqtt://127.0.0.1:{nobody}"], 1, "Connection refused"),
            (["--broker", f"mqtt://127.0.0.1:{empty.port}"], 1, "sent nothing"), (["--broker", f"127.0.0.1:{empty.port}"], 1, "sent nothing"), (["--broker", "ftp://x"], 2, "broker.url"),
            (["--broker", closed_url], 1, "refuses anonymous clients"),
            (["--broker", closed_url, "--username", "anna", "--password-file", str(world.directory / "wrong")], 1, "refuses the user anna"),
            (["--broker", closed_url, "--username", "anna", "--password-file", str(world.directory / "pass")], 1, "sent nothing"),
            (["--broker", closed_url, "--username", "anna", "--password-file", "/nonexistent"], 2, "password_file"),
            (["--broker", closed_url, "--for", "1ms"], 2, "100ms to 10m"),
            (["--broker", f"mqtts://127.0.0.1:{empty.port}"], 1, f"mqtts://127.0.0.1:{empty.port}: ")):
        result = run("init", *args, *([] if "--for" in args else ["--for", "200ms"]))
        assert result.returncode == status and not result.stdout and said in result.stderr, (args, result)


def test_init_keeps_the_account(world):
    (world.directory / "passwords").write_text("")
    subprocess.run(["mosquitto_passwd", "-b", str(world.directory / "passwords"), "anna", "right"], check=True)
    broker = world.broker(config=f"allow_anonymous false\npassword_file {world.directory}/passwords")
    (world.directory / "pass").write_text("right\n")
    feeding = subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-u", "anna", "-P", "right", "-r", "-t", "a/b", "-m", "1"], timeout=30)
    assert feeding.returncode == 0
    result = subprocess.run([BINARY, "init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--username", "anna", "--password-file", "pass", "--for", "300ms"],
                            cwd=world.directory, capture_output=True, text=True, timeout=30)
    made = yaml.safe_load(result.stdout)
    assert made["broker"]["username"] == "anna" and made["broker"]["password_file"] == str(world.directory / "pass")
    assert "right" not in result.stdout + result.stderr
