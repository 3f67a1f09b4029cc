"""`sluice top`: one table where the output is a pipe, tables without end on a terminal."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from harness import BINARY, free_port, wait_until

ROUTES = """routes:
  - { topic: "z/{name}", channel: "devices/{name}" }
  - { topic: 'quo"te/{x}/y', channel: 'q/{x}' }
  - { topic: idle/# }
"""


def run(*args):
    return subprocess.run([BINARY, "top", *args], capture_output=True, text=True, timeout=60)


@pytest.fixture
def gateway(world):
    broker = world.broker()
    gateway = world.sluice(f"broker: {{ url: mqtt://127.0.0.1:{broker.port} }}\nlisten: [{{ address: 127.0.0.1:0 }}]\n{ROUTES}")
    gateway.device = world.mqtt(broker.port)
    return gateway


def publish(gateway, topic, count, payload=b"0123456789"):
    for _ in range(count):
        gateway.device.publish(topic, payload)


def test_a_pipe_gets_one_table(world, gateway):
    publish(gateway, "z/lamp", 20)
    publish(gateway, 'quo"te/1/y', 7)
    wait_until(lambda: gateway.metric("sluice_mqtt_messages_total") == 27)
    result = run("--url", gateway.http, "--interval", "100ms")
    assert result.returncode == 0 and not result.stderr, result
    assert "\033" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[0] == f"{gateway.http}   broker up, 3 of 3 subscriptions"
    assert re.fullmatch(r"sessions    0   connections \d+   channels 2", lines[1]), lines
    # The busiest first; where nothing comes, the one with most.
    assert [line.split(maxsplit=3) for line in lines[6:]] == [
        ["0", "0", "20", "z/{name} -> devices/{name}"], ["0", "0", "7", r'quo\"te/{x}/y -> q/{x}'], ["0", "0", "0", "idle/#"], ["0", "0", "0", "other"]], lines


def test_rates_and_sessions(world, gateway):
    child = subprocess.Popen([BINARY, "sub", "devices/#", "--url", gateway.http], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: gateway.metric("sluice_sessions") == 1)
        top = subprocess.Popen([BINARY, "top", "--url", gateway.http, "--interval", "500ms", "--count", "3"], stdout=subprocess.PIPE, text=True)
        while top.poll() is None:
            publish(gateway, "z/lamp", 5)
        text = top.stdout.read()
    finally:
        child.terminate()
        child.wait()
    assert top.returncode == 0
    tables = re.split(r"(?m)^(?=http)", text)[1:]
    assert len(tables) == 3
    for table in tables[1:]:
        assert "sessions    1 (sse 1)" in table
        rate, size, _, route = re.search(r"(?m)^ +([\d.k]+) +([\d.k]+) +([\d.k]+)  (z/.*)$", table).groups()
        number = lambda text: float(text.rstrip("k")) * (1000 if text.endswith("k") else 1)
        assert route == "z/{name} -> devices/{name}" and number(rate) > 1
        assert number(size) == pytest.approx(10 * number(rate), rel=0.1)
        assert number(re.search(r"out ([\d.k]+) msg/s", table)[1]) > 1


def test_a_terminal_gets_tables_that_fit_until_it_is_interrupted(world, gateway):
    publish(gateway, "z/lamp", 3)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 40, 0, 0))
    child = subprocess.Popen([BINARY, "top", "--url", gateway.http, "--interval", "100ms"], stdout=slave, stderr=slave)
    os.close(slave)
    text = ""

    def read():
        nonlocal text
        if select.select([master], [], [], 0.1)[0]:
            text += os.read(master, 65536).decode()
        return text

    try:
        wait_until(lambda: read().count("\033[2J") >= 3)
        assert child.poll() is None
        # The gateway goes, and comes back at another address: the table says so meanwhile.
        gateway.stop()
        wait_until(lambda: f"no answer from {gateway.http}" in read().replace("\r\n", ""))
        assert child.poll() is None
    finally:
        child.terminate()
        child.wait()
        os.close(master)
    frame = text.split("\033[2J")[1].replace("\r\n", "\n").split("\n")
    assert all(len(line) <= 40 for line in frame[:-1]), frame
    assert len(frame) <= 10 and any(line.endswith("2 more") for line in frame), frame


def test_refusals(world):
    nobody = f"http://127.0.0.1:{free_port()}"
    begin = time.monotonic()
    for args, status, said in ((["--url", nobody], 1, f"no answer from {nobody}"), (["--interval", "1ms"], 2, "100ms to 1h"),
                               (["--count", "0"], 2, "a number from 1"), (["-c", "/nonexistent"], 2, "sluice init"), (["x"], 2, "unexpected argument")):
        result = run(*args)
        assert result.returncode == status and said in result.stderr and not result.stdout, (args, result)
    assert time.monotonic() - begin < 30
