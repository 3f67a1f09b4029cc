"""The command line and the configuration, as an operator meets them."""
import hashlib
import re
import socket
import subprocess

import harness
import pytest
import requests
from command import run
from conftest import yaml
from harness import BINARY, ROOT, free_port, wait_until

CASES = sorted((ROOT / "tests/unit/config").glob("*.yaml"))


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
    (["run"], "sluice -c FILE"), (["sluice.yaml"], "-c FILE"), (["./conf"], "-c FILE"), (["a.yml"], "-c FILE"), (["x.txt"], None), (["--config", "x"], "-c"), (["-v"], "--version"), (["subscribe", "a"], "sub"), (["top", "--config-file=x"], "-c"),
    (["check", "a", "b"], None), (["reload", "--topic", "x"], None), (["schema", "x"], None), (["reference", "--man=1"], None)])
def test_mistyped(typed, meant):
    result = run(*typed)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.splitlines()[1].startswith("Try: sluice ") and result.stderr.splitlines()[1].endswith("--help")
    assert (f"(did you mean {meant}?)" in result.stderr) == bool(meant), result.stderr


@pytest.mark.parametrize("args", [["init"], ["init", "--broker", "mqtt://h", "--for", "x"], ["token"], ["token", "--subject", "x", "--expires", "x"],
                                  ["explain"], ["completion", "tcsh"], ["sub", "a", "--count", "0"], ["top", "--count", "0"], ["pub"], ["sub"]],
                         ids=" ".join)
def test_what_is_missing_leads_to_the_help_of_its_command(args):
    result = run(*args)
    assert result.returncode == 2 and result.stderr.splitlines()[-1] == f"Try: sluice {args[0]} --help", result.stderr


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
