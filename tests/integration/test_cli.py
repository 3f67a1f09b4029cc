"""The command line and the configuration, as an operator meets them."""
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess

import harness
import jwt
import pytest
import requests
from conftest import yaml
from harness import BINARY, ROOT, free_port, wait_until
from tlsfiles import certificate

CASES = sorted((ROOT / "tests/unit/config").glob("*.yaml"))


def run(*args, **env):
    return subprocess.run([BINARY, *args], capture_output=True, text=True, timeout=30, env=dict(os.environ, **env))


def test_version_and_help():
    assert run("--version").stdout.startswith("sluice ")
    for word in ("check", "explain", "healthcheck", "reload"):
        assert word in run("--help").stdout
    for args in (["--nonsense"], ["check"], ["check", "a", "b"], ["explain"], ["explain", "--topic"], ["-c"], ["nonsense"]):
        result = run(*args)
        assert result.returncode == 2 and result.stderr.startswith("sluice: ") and not result.stdout


@pytest.mark.parametrize("name", ["minimal", "reference", "demo"])
def test_files_in_config_are_fine(name):
    result = run("check", str(ROOT / f"config/{name}.yaml"))
    assert result.returncode == 0 and ": OK, " in result.stdout
    assert all("warning: listen: 0.0.0.0:8080 is open to everybody" in line for line in result.stderr.splitlines())


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden_errors(path):
    """Every problem of the file in one run, each with its place; exit status 2, unless there are only warnings."""
    result = subprocess.run([BINARY, "check", path.name], cwd=path.parent, capture_output=True, text=True, timeout=30)
    expected = path.with_suffix(".expected").read_text()
    assert result.stderr == expected
    errors = [line for line in expected.splitlines() if ": warning: " not in line]
    assert result.returncode == (2 if errors else 0)
    assert bool(result.stdout) == (not errors)


def test_missing_file():
    result = run("check", "/nonexistent/x.yaml")
    first, second = result.stderr.splitlines()
    assert result.returncode == 2 and first == "/nonexistent/x.yaml:1:1: can't read the file: No such file or directory"
    assert second.startswith("sluice: write one with `sluice init --broker") and second.endswith("or give -c FILE")
    assert "give -c FILE" not in run("check", "/").stderr # it exists, so writing one is no remedy
    assert run("-c", "/nonexistent/x.yaml").returncode == 2


def test_environment(tmp_path):
    file = tmp_path / "env.yaml"
    file.write_text("broker:\n  url: mqtt://${HOST_OF_BROKER}:${PORT_OF_BROKER:-1883}\n"
                    "  username: u\n  password: ${SECRET}\nroutes:\n  - topic: ${TOPIC:-a/#}\n")
    result = run("check", str(file))
    assert result.returncode == 2
    assert f"{file}:2:8: the environment has no variable HOST_OF_BROKER" in result.stderr
    assert f"{file}:4:13: the environment has no variable SECRET" in result.stderr
    # A value can't bring in YAML: it stays one text.
    assert run("check", str(file), HOST_OF_BROKER="h", SECRET='x"\n  tls: {').returncode == 0
    assert run("check", str(file), HOST_OF_BROKER="h", SECRET="x", TOPIC="a/#/b").returncode == 2


def test_bombs(tmp_path):
    bombs = {
        "alias": "a: &a [x, x]\nb: [*a, *a]\n",
        "depth": "a: " + "[" * 1000 + "]" * 1000 + "\n",
        "scalar": "a: " + "x" * 100000 + "\n",
        "file": "# " + "x" * 2000000 + "\n",
        "nodes": "a:\n" + "  - x\n" * 150000 + "b:\n" + "  - x\n" * 10,
        "line": "a: [" + "x, " * 150000 + "]\n",
        "nul": "a: \"x\\0y\"\n",
        "latin1": b"a: \xe9\n",
        "tabs": "a:\n\tb: c\n",
        "documents": "a: b\n---\nc: d\n",
        "tag": "a: !!python/object b\n",
    }
    for name, text in bombs.items():
        file = tmp_path / f"{name}.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        result = run("check", str(file))
        assert result.returncode == 2, name
        first = result.stderr.splitlines()[0]
        assert first.startswith(f"{file}:"), (name, first)
        line, column = first[len(str(file)) + 1:].split(":")[:2]
        assert int(line) >= 1 and int(column) >= 1, (name, first)


def test_explain():
    demo = str(ROOT / "config/demo.yaml")
    text = run("explain", "-c", demo, "--topic", "zigbee2mqtt/lamp").stdout
    assert "{device} = 'lamp'" in text and "channel:  devices/lamp" in text and "codec:    json" in text
    assert "to topic 'zigbee2mqtt/lamp/set', qos 1" in text and "does not match" in text and "because:" in text
    text = run("explain", "-c", demo, "--channel", "devices/lamp").stdout
    assert "fed by:   topic 'zigbee2mqtt/lamp'" in text
    result = run("explain", "-c", demo, "--topic", "nothing/of/ours/here/x")
    assert "no route matches" in result.stdout and result.returncode == 1


@pytest.mark.parametrize("option, name, status", [
    ("--topic", "zigbee2mqtt/lamp", 0), ("--topic", "foo/bar", 1), ("--topic", "a/#", 1),
    ("--channel", "devices/lamp", 0), ("--channel", "foo/bar", 1), ("--channel", "", 1)])
def test_explain_for_scripts(option, name, status):
    """The exit status says whether any route matches."""
    assert run("explain", "-c", str(ROOT / "config/demo.yaml"), option, name).returncode == status


@pytest.mark.parametrize("typed, meant", [
    (["chekc"], "check"), (["helthcheck"], "healthcheck"), (["relod"], "reload"), (["explian", "--topic", "x"], "explain"),
    (["--hlep"], None), (["zzz"], None), (["explain", "--chanel", "x"], "--channel"), (["explain", "--topik", "x"], "--topic"),
    (["run"], "sluice -c FILE"), (["--config", "x"], "-c"), (["-v"], "--version"), (["subscribe", "a"], "sub"), (["top", "--config-file=x"], "-c"),
    (["check", "a", "b"], None), (["reload", "--topic", "x"], None), (["schema", "x"], None), (["reference", "--man=1"], None)])
def test_mistyped(typed, meant):
    result = run(*typed)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.splitlines()[1].startswith("Try: sluice ") and result.stderr.splitlines()[1].endswith("--help")
    assert (f"(did you mean {meant}?)" in result.stderr) == bool(meant), result.stderr


def test_every_command_has_help():
    commands = re.findall(r"^  sluice ([a-z]+)", run("--help").stdout, re.M)
    assert {"check", "explain", "completion"} <= set(commands)
    for command in commands:
        result = run(command, "--help")
        assert result.returncode == 0 and result.stdout.startswith(f"  sluice {command}"), result
    assert "the channel to explain" in run("explain", "-h").stdout


def test_options_have_two_forms():
    demo = str(ROOT / "config/demo.yaml")
    assert run("explain", "-c", demo, "--topic=foo/bar").returncode == 1
    assert run("explain", "--channel=devices/lamp", "-c", demo).returncode == 0
    assert run("check", "--", demo).returncode == 0


@pytest.mark.parametrize("shell, file", [("bash", "sluice.bash"), ("zsh", "_sluice"), ("fish", "sluice.fish")])
def test_completions_are_those_of_the_commands(shell, file):
    assert run("completion", shell).stdout == (ROOT / "packaging/completions" / file).read_text()
    assert run("completion", "tcsh").returncode == 2


def test_start_says_what_runs(world):
    port = free_port()
    two = "  - { topic: a/# }\n  - { topic: b/# }"
    gateway = world.sluice(yaml(free_port(), two, listen=f"0.0.0.0:{port}", extra="web: { base_path: /live }"), ready=False)
    version = run("--version").stdout.strip()
    wait_until(lambda: f"{version}, 2 routes, dashboard http://localhost:{port}/live/" in gateway.text())
    assert "0.0.0.0" in gateway.text() and "there is no auth:" in gateway.text()
    assert requests.get(f"http://localhost:{port}/live/", timeout=5).status_code == 200
    local = world.sluice(yaml(free_port(), "  - { topic: a/# }", listen="'[::1]:0'"), ready=False)
    wait_until(lambda: re.search(r"1 route, dashboard http://\[::1\]:\d+/", local.text()))
    assert "there is no auth:" not in local.text()
    socket_only = world.directory / "only.sock"
    file = world.directory / "unix.yaml"
    file.write_text(yaml(free_port(), "  - { topic: a/# }", listen=f"unix:{socket_only}"))
    child = world.keep(harness.Process([BINARY, "-c", str(file)], world.directory / "unix.log"))
    wait_until(lambda: "1 route" in child.text())
    assert "dashboard" not in child.text()


def test_healthcheck(world):
    port = free_port()
    gateway = world.sluice(yaml(free_port(), listen=f"0.0.0.0:{port}"), ready=False)
    assert run("healthcheck", "-c", str(gateway.config)).returncode == 0
    gateway.stop()
    result = run("healthcheck", "-c", str(gateway.config))
    assert result.returncode == 1 and "no answer" in result.stderr


def test_healthcheck_where_another_protocol_is_first(world):
    ports = [free_port(), free_port()]
    listen = f"127.0.0.1:{ports[0]}\n    protocol: mqtt\n  - address: 127.0.0.1:{ports[1]}"
    gateway = world.sluice(yaml(free_port(), listen=listen, extra="mqtt: true\n"), ready=False)
    wait_until(lambda: run("healthcheck", "-c", str(gateway.config)).returncode == 0)


def test_port_in_use_and_several_listeners(world):
    port = free_port()
    world.sluice(yaml(free_port(), listen=f"127.0.0.1:{port}"), ready=False)
    # SO_REUSEPORT would let a second gateway share the port silently; another program must be an error.
    import socket
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    file = world.directory / "taken.yaml"
    file.write_text(yaml(free_port(), listen=f"127.0.0.1:{taken.getsockname()[1]}"))
    result = run("-c", str(file))
    assert result.returncode == 1 and "Address already in use" in result.stderr
    taken.close()
    two = world.sluice(yaml(free_port(), listen="127.0.0.1:0\n  - address: '[::1]:0'"), ready=False)
    wait_until(lambda: two.text().count("listening on") == 2)


def test_sigint_ends_well(world):
    gateway = world.sluice(yaml(world.broker().port))
    gateway.signal(2)
    assert gateway.wait(10) == 0


def test_apikey():
    first, second = run("apikey"), run("apikey")
    assert first.returncode == second.returncode == 0 and first.stdout != second.stdout
    (_, key), (_, digest) = (line.split() for line in first.stdout.splitlines())
    assert key.startswith("slk_") and len(key) == 47
    assert digest == "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    assert run("apikey", "x").returncode == 2


def test_reload_signals_the_gateway_of_that_file(world):
    """`sluice reload` checks the file first, finds the process that runs with it, and touches no other one."""
    broker = world.broker()
    one, other = (world.sluice(yaml(broker.port, "  - { topic: a/# }")) for _ in range(2))
    one.config.write_text(yaml(broker.port, "  - { topic: b/#, publish: {} }"))
    result = run("reload", "-c", str(one.config))
    assert result.returncode == 0 and f"process {one.child.pid}" in result.stdout, result
    wait_until(lambda: one.post("/channels/b/x", b"1").status_code == 200, what="the new routes")
    assert other.text().count("reloaded") == 0
    one.config.write_text("nonsense: 1\n")
    result = run("reload", "-c", str(one.config))
    assert result.returncode == 2 and "nonsense" in result.stderr and not result.stdout
    result = run("reload", "-c", str(ROOT / "config/minimal.yaml"))
    assert result.returncode == 1 and "no gateway runs with" in result.stderr
    assert run("reload", "--nonsense").returncode == 2


SECRET = "0123456789abcdef" * 4


def with_secret(directory, jwt_keys="", secret=SECRET + "\n"):
    (directory / "jwt.secret").write_text(secret)
    file = directory / "token.yaml"
    file.write_text(yaml(free_port(), "  - { topic: plants/#, publish: {} }", extra="auth:\n  jwt:\n    secret_file: "
                         f"{directory}/jwt.secret\n{jwt_keys}roles:\n"
                         "  viewer: { subscribe: 'plants/{claims.site}/#' }\n  editor: { publish: 'plants/#' }\n"))
    return file


@pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
def test_token(tmp_path, algorithm):
    """PyJWT verifies what is made, and the gateway takes it."""
    file = with_secret(tmp_path, f"    issuer: https://i.example\n    audience: [a, b]\n    roles_claim: realm.roles\n    algorithms: [{algorithm}]\n")
    result = run("token", "-c", str(file), "--subject", "anna", "--role", "viewer", "--role=editor", "--claim", "site=north",
                 "--claim", 'level=[1,"x"]', "--expires", "15m")
    assert result.returncode == 0 and not result.stderr, result
    claims = jwt.decode(result.stdout.strip(), SECRET, [algorithm], issuer="https://i.example", audience="a")
    assert claims["sub"] == "anna" and claims["realm.roles"] == ["viewer", "editor"]
    assert claims["site"] == "north" and claims["level"] == [1, "x"] and claims["exp"] - claims["iat"] == 900
    said = run("explain", "-c", str(file), "--as", result.stdout.strip(), "--channel", "plants/north/x")
    assert said.returncode == 0 and "as 'anna' (token" in said.stdout
    assert "subscribe allowed by 'plants/north/#'" in said.stdout and "publish   allowed by 'plants/#'" in said.stdout


def test_token_refusals(tmp_path):
    file = str(with_secret(tmp_path))
    for args, said in ((["--role", "viewer"], "--subject NAME is expected"), (["--subject", "a", "--role", "vewer"], "no role 'vewer' (viewer, editor expected)"),
                       (["--subject", "a", "--expires", "soon"], "a duration such as 15m"), (["--subject", "a", "--claim", "x"], "NAME=VALUE"),
                       (["--subject", "a", "--claim", "exp=1"], "would refuse the token"), (["--subject", "a"] + ["--role", "viewer"] * 17, "more than 16 times")):
        result = run("token", "-c", file, *args)
        assert result.returncode == 2 and not result.stdout and said in result.stderr, result
    for text, said in ((yaml(1, "  - { topic: a }"), "there is no auth:"),
                       (yaml(1, "  - { topic: a }", extra="auth: { anonymous: [v] }\nroles: { v: { subscribe: a } }\n"), "auth.jwt.secret_file expected"),):
        other = tmp_path / "other.yaml"
        other.write_text(text)
        result = run("token", "-c", str(other), "--subject", "a")
        assert result.returncode == 2 and not result.stdout and said in result.stderr, result
    (tmp_path / "jwt.secret").unlink()
    assert "auth.jwt.secret_file:" in run("token", "-c", file, "--subject", "a").stderr


# --- pub and sub ----------------------------------------------------------------------------------------------------

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


# --- init -----------------------------------------------------------------------------------------------------------

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
    import yaml as reader
    broker = world.broker()
    topics = {topic: payload for topic, payload in topics.items() if topic}
    retained(world, broker, topics)
    file = world.directory / "made.yaml"
    result = run("init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--for", "300ms", "--output", str(file))
    assert result.returncode == 0 and not result.stdout, result
    assert {route["topic"]: route["codec"] for route in reader.safe_load(file.read_text())["routes"]} == routes
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
    import yaml as reader
    (world.directory / "passwords").write_text("")
    subprocess.run(["mosquitto_passwd", "-b", str(world.directory / "passwords"), "anna", "right"], check=True)
    broker = world.broker(config=f"allow_anonymous false\npassword_file {world.directory}/passwords")
    (world.directory / "pass").write_text("right\n")
    feeding = subprocess.run(["mosquitto_pub", "-p", str(broker.port), "-u", "anna", "-P", "right", "-r", "-t", "a/b", "-m", "1"], timeout=30)
    assert feeding.returncode == 0
    result = subprocess.run([BINARY, "init", "--broker", f"mqtt://127.0.0.1:{broker.port}", "--username", "anna", "--password-file", "pass", "--for", "300ms"],
                            cwd=world.directory, capture_output=True, text=True, timeout=30)
    made = reader.safe_load(result.stdout)
    assert made["broker"]["username"] == "anna" and made["broker"]["password_file"] == str(world.directory / "pass")
    assert "right" not in result.stdout + result.stderr


# --- doctor ---------------------------------------------------------------------------------------------------------

def lines(result):
    return [(line.split()[0], line.split(None, 1)[1]) for line in result.stdout.splitlines()]


def test_doctor_finds_nothing(world):
    broker, port = world.broker(), free_port()
    file = world.directory / "well.yaml"
    file.write_text(yaml(broker.port, "  - { topic: a/# }", listen=f"127.0.0.1:{port}\n  - address: unix:{world.directory}/s.sock"))
    result = run("doctor", "-c", str(file))
    assert result.returncode == 0 and {word for word, _ in lines(result)} == {"ok"}, result
    assert f"listen: 127.0.0.1:{port} is free" in result.stdout and "s.sock can be made" in result.stdout
    world.keep(harness.Process([BINARY, "-c", str(file)], world.directory / "well.log"))
    wait_until(lambda: "a gateway runs there" in run("doctor", "-c", str(file)).stdout)


def test_doctor_leaves_a_running_gateway_its_connection(world):
    """Its client_id is one; a second client of that name would take the connection over."""
    broker = world.broker()
    port = free_port()
    gateway = world.sluice(yaml(broker.port, "  - { topic: a/# }", listen=f"127.0.0.1:{port}", broker="  client_id: only-one\n"))
    result = run("doctor", "-c", str(gateway.config))
    assert result.returncode == 0 and "ok       broker: the gateway that runs is connected to it" in result.stdout, result
    assert "\nsluice_mqtt_disconnects_total 0\n" in gateway.get("/metrics").text
    broker.kill()
    wait_until(lambda: not gateway.get("/readyz").ok)
    result = run("doctor", "-c", str(gateway.config))
    assert result.returncode == 1 and "FAILURE  broker: the gateway that runs is not connected" in result.stdout, result


def test_doctor_finds_what_is_wrong(world):
    broker, nobody = world.broker(), free_port()
    (world.directory / "pass").write_text("x\n")
    (world.directory / "pass").chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = world.directory / "ill.yaml"
        file.write_text(yaml(nobody, "  - { topic: a/# }", listen=f"127.0.0.1:{taken.getsockname()[1]}\n  - address: unix:/nonexistent/s.sock\n"
                             f"  - address: 0.0.0.0:{free_port()}", broker="  username: u\n  password_file: " + str(world.directory / "pass") + "\n", extra="web: { origins: '*' }\n"))
        result = run("doctor", "-c", str(file))
    said = [text for word, text in lines(result) if word == "FAILURE"]
    assert result.returncode == 1 and len(said) == 3, result
    assert said[0].startswith(f"broker: mqtt://127.0.0.1:{nobody}: Connection refused") and "Address already in use" in said[1] and "/nonexistent" in said[2]
    warned = [text for word, text in lines(result) if word == "warning"]
    assert len(warned) == 3 and "add auth:" in warned[0] and "every web page" in warned[1] and f"chmod o-rwx {world.directory}/pass" in warned[2], result
    file.write_text(yaml(broker.port, "  - { topic: a/# }").replace("mqtt:", "mqtts:"))
    result = run("doctor", "-c", str(file))
    assert result.returncode == 1 and "FAILURE  broker: mqtts:" in result.stdout, result
    file.write_text("broker: 1\n")
    assert run("doctor", "-c", str(file)).returncode == 2
