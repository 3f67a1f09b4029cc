"""Brokers and clients that fail, and what else must not hurt."""
import asyncio
import concurrent.futures
import os
import socket
import subprocess
import threading
import time

import pytest
import requests
from conftest import ROUTES, yaml
from harness import SANITIZED, free_port, wait_until
from wsclient import connect

sanitize = pytest.mark.sanitize


@sanitize
async def test_broker_killed_and_restarted(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    client.publish("rooms/kept/t", "1", retain=True)
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/+/t")
        while (await ws.recv())["type"] != "message":
            pass
        broker.kill()
        down = await ws.until("upstream")
        assert down["state"] == "down" and down["since"] > 1_600_000_000_000
        assert gateway.get("/readyz").status_code == 503
        assert gateway.get("/channels/rooms/kept/t").json()["data"] == 1  # old values are still there
        async with connect(gateway) as late:
            assert (await late.until("upstream"))["state"] == "down"
        broker.start()
        assert (await ws.until("upstream", 15))["state"] == "up"
        late_client = world.mqtt(broker.port)
        late_client.publish("rooms/kept/t", "2")
        assert (await ws.until("message"))["data"] == 2


@sanitize
async def test_retained_value_again_is_no_news(world):
    persistence = f"persistence true\npersistence_location {world.directory}/\nautosave_interval 1\nautosave_on_changes true\nallow_anonymous true"
    broker = world.broker(config=persistence)
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    client.publish("rooms/retained/t", "21", retain=True)
    wait_until(lambda: gateway.get("/channels/rooms/retained/t").status_code == 200)
    cursor = gateway.get("/channels/rooms/retained/t").json()["cursor"]
    client.close()
    world.things.remove(client)
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/retained/t")
        await ws.until("message")
        broker.signal(15)
        broker.wait()
        broker.end()
        assert (await ws.until("upstream"))["state"] == "down"
        broker.start()
        assert (await ws.until("upstream", 15))["state"] == "up"
        wait_until(lambda: gateway.metric("sluice_repeats_total") >= 1)
        await ws.quiet()
    assert gateway.get("/channels/rooms/retained/t").json()["cursor"] == cursor


@sanitize
async def test_start_without_a_broker(world):
    port = free_port()
    gateway = world.sluice(yaml(port), ready=False)
    async with connect(gateway) as ws:
        assert (await ws.until("upstream"))["state"] == "down"
        assert (await ws.subscribe("rooms/early/t"))["snapshot"] == 0
        broker = world.broker(port=port)
        assert (await ws.until("upstream", 15))["state"] == "up"
        world.mqtt(broker.port).publish("rooms/early/t", "1")
        assert (await ws.until("message"))["data"] == 1


async def test_frozen_broker_is_noticed(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    async with connect(gateway) as ws:
        broker.freeze()
        assert (await ws.until("upstream", 20))["state"] == "down"
        broker.thaw()
        assert (await ws.until("upstream", 20))["state"] == "up"


@sanitize
def test_retained_flag_is_for_stored_values(world):
    broker = world.broker()
    client = world.mqtt(broker.port)
    client.publish("rooms/stored/t", "1", retain=True)
    gateway = world.sluice(yaml(broker.port))
    message = wait_until(lambda: (lambda a: a.status_code == 200 and a.json())(gateway.get("/channels/rooms/stored/t")))
    assert message["retained"] is True
    client.publish("rooms/stored/t", "2", retain=True)
    wait_until(lambda: gateway.get("/channels/rooms/stored/t").json()["data"] == 2)
    assert "retained" not in gateway.get("/channels/rooms/stored/t").json()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_session_expiry_keeps_messages_while_away(world, protocol):
    broker = world.broker()
    text = yaml(broker.port, broker=f"  client_id: keeper\n  session_expiry: 1h\n  protocol: {protocol}\n")
    gateway = world.sluice(text)
    gateway.stop()
    client = world.mqtt(broker.port)
    for number in range(10):
        client.publish("rooms/away/t", str(number))
    gateway = world.sluice(text)
    wait_until(lambda: gateway.get("/channels/rooms/away/t").json().get("data") == 9)
    messages = gateway.get("/channels/rooms/away/t/history").json()["messages"]
    assert [m["data"] for m in messages] == list(range(10))


@sanitize
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_protocol_and_password(world, protocol):
    passwords = world.directory / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "dash", "se cret"], check=True)
    os.chmod(passwords, 0o644)
    secret = world.directory / "secret"
    secret.write_text("se cret\n")
    broker = world.broker(config=f"allow_anonymous false\npassword_file {passwords}")
    gateway = world.sluice(yaml(broker.port, broker=f"  username: dash\n  password_file: {secret}\n  protocol: {protocol}\n"))
    assert gateway.post("/channels/lamps/1", b"ON").status_code == 200
    wrong = world.sluice(yaml(broker.port, broker="  username: dash\n  password: wrong\n"), ready=False)
    wait_until(lambda: "refused the connection" in wrong.text())
    assert wrong.get("/readyz").status_code == 503 and "wrong" not in wrong.text()


def make_certificates(directory):
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=directory)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2",
            "-subj", "/CN=test ca", "-addext", "basicConstraints=critical,CA:TRUE")
    for name, extra in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        (directory / f"{name}.ext").write_text(extra + "\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-out", f"{name}.crt", "-extfile", f"{name}.ext")
    for path in directory.glob("*.key"):
        path.chmod(0o644)


def test_tls_with_client_certificate(world):
    d = world.directory
    make_certificates(d)
    config = (f"allow_anonymous true\ncafile {d}/ca.crt\ncertfile {d}/server.crt\nkeyfile {d}/server.key\n"
              "require_certificate true")
    broker = world.broker(config=config)
    tls = f"  tls: {{ ca_file: {d}/ca.crt, cert_file: {d}/client.crt, key_file: {d}/client.key }}\n"
    gateway = world.sluice(yaml(broker.port, broker=tls, scheme="mqtts"))
    assert gateway.post("/channels/lamps/1", b"ON").status_code == 200
    wait_until(lambda: gateway.get("/channels/lamps/1").json().get("data") == "ON")
    broker.kill()
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    broker.start()
    gateway.wait_ready()
    without = world.sluice(yaml(broker.port, broker=f"  tls: {{ ca_file: {d}/ca.crt }}\n", scheme="mqtts"), ready=False)
    untrusted = world.sluice(yaml(broker.port, scheme="mqtts"), ready=False)
    wait_until(lambda: "no connection" in without.text() and "no connection" in untrusted.text())
    assert without.get("/readyz").status_code == 503 and untrusted.get("/readyz").status_code == 503


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_overlapping_routes_make_no_doubles(world, protocol):
    broker = world.broker()
    routes = """
  - { topic: "a/#", qos: 0 }
  - { topic: "a/{x}", channel: "x/{x}", qos: 1 }
  - { topic: "a/b", channel: exact, qos: 2 }
"""
    gateway = world.sluice(yaml(broker.port, routes, broker=f"  protocol: {protocol}\n"))
    client = world.mqtt(broker.port)
    for number in range(5):
        client.publish("a/b", str(number))
    for channel in ("a/b", "x/b", "exact"):
        wait_until(lambda: gateway.get(f"/channels/{channel}").json().get("data") == 4)
        got = [m["data"] for m in gateway.get(f"/channels/{channel}/history").json()["messages"]]
        assert got == list(range(5)), (channel, got)


@sanitize
async def test_slow_reader_delays_nobody_and_grows_nothing(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, extra="limits: { queue: 256KiB }\n", routes="""
  - topic: flood/{n}
    history: { count: 50 }
"""))
    client = world.mqtt(broker.port)
    slow = never_reading_client(gateway, "flood/x")
    rounds = 40 if SANITIZED else 150
    payload = b'"' + b"x" * 8000 + b'"'
    async with connect(gateway) as ws:
        await ws.subscribe("flood/+")
        before = gateway.rss()
        for number in range(rounds):
            for _ in range(20):
                client.client.publish("flood/x", payload, 1)
            for _ in range(20):  # nobody else waits for the slow one, or gets a gap
                await ws.until("message")
        client.publish("flood/x", '"end"')
        assert (await ws.until("message"))["data"] == "end"
        assert gateway.metric("sluice_overflows_total") == 1
        if not SANITIZED:
            assert gateway.rss() - before < 12 * 1024 * 1024
    # The slow one wakes up: it is told what it missed, and ends with the last value.
    bytes = b""
    while b'"data":"end"' not in bytes:
        more = slow.recv(65536)
        assert more
        bytes += more
    assert b'"type":"gap"' in bytes and b'"reason":"overflow"' in bytes
    slow.close()


def never_reading_client(gateway, channel):
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(20)
    slow.connect(("127.0.0.1", gateway.port))
    slow.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    text = b'{"type":"subscribe","channel":"%s"}' % channel.encode()
    slow.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    wait_until(lambda: gateway.metric("sluice_sessions") == 1)
    return slow


async def test_a_burst_larger_than_the_queue_is_no_slow_reader(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'burst/{n}', history: { count: 1 } }\n",
                                extra="limits: { queue: 64KiB }\n"))
    client = world.mqtt(broker.port)
    async with connect(gateway) as ws:
        await ws.subscribe("burst/x")
        gateway.signal(19)  # everything arrives in one batch
        for number in range(40):
            client.client.publish("burst/x", '"%06d%s"' % (number, "x" * 4000), 0)
        client.publish("burst/x", "1")
        gateway.signal(18)
        for number in range(40):
            assert (await ws.until("message"))["data"].startswith("%06d" % number)
        assert (await ws.until("message"))["data"] == 1


@sanitize
def test_slow_reader_can_be_closed_instead(world):
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, routes="  - { topic: 'flood/{n}', history: { count: 5 } }\n",
                                extra="limits: { queue: 16KiB, slow_consumer: close }\n"))
    client = world.mqtt(broker.port)
    slow = never_reading_client(gateway, "flood/x")
    for _ in range(100):
        for _ in range(19):
            client.client.publish("flood/x", '"' + "x" * 8000 + '"', 1)
        client.publish("flood/x", '"' + "x" * 8000 + '"')
    wait_until(lambda: gateway.metric("sluice_overflows_total") >= 1)
    got = b""
    while True:
        more = slow.recv(65536)
        if not more:
            break
        got += more
    at = got.rindex(b"\x88")  # the close frame is the last one
    assert got[at + 2:at + 4] == bytes([1013 >> 8, 1013 & 255]) and b'"type":"gap"' not in got
    slow.close()


@sanitize
@pytest.mark.parametrize("workers", [2, 4])
def test_many_workers_one_sequence(world, workers):
    """A client whose polls land on different workers misses nothing and sees nothing twice."""
    broker = world.broker(config="allow_anonymous true\nmax_queued_messages 100000")
    gateway = world.sluice(yaml(broker.port, extra=f"workers: {workers}\n"))
    assert f"{workers} worker(s)" in gateway.text()
    client = world.mqtt(broker.port)
    total = 500 if SANITIZED else 3000
    cursor = gateway.get("/poll?channel=rooms/w/t&wait=0").headers["Sluice-Cursor"]

    def send():
        for number in range(total):
            client.client.publish("rooms/w/t", str(number), 1)
            if number % 100 == 99:
                client.publish("rooms/w/other", "x")
    thread = threading.Thread(target=send)
    thread.start()

    def hop(cursor):
        got = []
        while len(got) < total:
            answer = requests.get(gateway.http + "/poll", params={"channel": "rooms/w/t", "cursor": cursor, "wait": 5},
                                  headers={"Connection": "close"}, timeout=20)
            cursor = answer.headers["Sluice-Cursor"]
            if answer.status_code == 200:
                assert answer.json()["gaps"] == []
                got += [m["data"] for m in answer.json()["messages"]]
        return got
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for result in [pool.submit(hop, cursor) for _ in range(4)]:
            assert result.result(80) == list(range(total))
    thread.join()


@sanitize
async def test_reload_under_live_connections(world):
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    client = world.mqtt(broker.port)
    async with connect(gateway) as ws:
        await ws.subscribe("rooms/stay/t")
        gateway.config.write_text("broker: [\n")
        gateway.signal(1)
        wait_until(lambda: "nothing changes" in gateway.text())
        client.publish("rooms/stay/t", "1")
        assert (await ws.until("message"))["data"] == 1
        gateway.config.write_text(yaml(broker.port, ROUTES.replace("once/{id}", "later/{id}") + "  - topic: new/{x}\n"))
        gateway.signal(1)
        wait_until(lambda: gateway.get("/channels/new/x").json()["code"] == "no_value")
        assert gateway.get("/channels/once/x").json()["code"] == "unknown_channel"
        client.publish("rooms/stay/t", "2")
        assert (await ws.until("message"))["data"] == 2
        await ws.subscribe("new/x", id=2)

        def fresh():
            client.publish("new/x", "5")
            return gateway.get("/channels/new/x").status_code == 200
        wait_until(fresh)
        assert (await ws.until("message"))["data"] == 5


@sanitize
def test_reload_in_a_loop_loses_nothing(world):
    broker = world.broker()
    texts = [yaml(broker.port), yaml(broker.port, ROUTES + "  - topic: more/{x}\n")]
    gateway = world.sluice(texts[0])
    client = world.mqtt(broker.port)
    cursor = gateway.get("/poll?channel=rooms/r/t&wait=0").headers["Sluice-Cursor"]
    for number in range(100):
        if number % 5 == 0:
            gateway.config.write_text(texts[number // 5 % 2])
            gateway.signal(1)
        client.publish("rooms/r/t", str(number))
    got = []
    while len(got) < 100:
        body = gateway.get("/poll", params={"channel": "rooms/r/t", "cursor": cursor, "wait": 10}).json()
        assert body["gaps"] == []
        got += [m["data"] for m in body["messages"]]
        cursor = body["cursor"]
    assert got == list(range(100))


def test_reconnect_with_thousands_of_descriptors(world):
    """libmosquitto's own loop can't take a descriptor above 1023; ours must."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port))
    held = []
    for _ in range(1200):
        one = socket.create_connection(("127.0.0.1", gateway.port), 10)
        one.sendall(b"GET /poll?channel=rooms/a/t&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n")
        held.append(one)
    wait_until(lambda: gateway.metric("sluice_sessions") >= 1200, 30)
    broker.kill()
    wait_until(lambda: gateway.get("/readyz").status_code == 503)
    broker.start()
    gateway.wait_ready()
    assert gateway.post("/channels/lamps/1", b"ON").status_code == 200
    for one in held:
        one.close()


def test_table_of_descriptors_is_made_at_the_start(world):
    """It never grows while clients come: the kernel lets a process with threads wait some 15 ms for that."""
    broker = world.broker()
    gateway = world.sluice(yaml(broker.port, extra="limits: { connections: 3000 }\n"))

    def slots():
        with open(f"/proc/{gateway.child.pid}/status") as status:
            return int(next(line.split()[1] for line in status if line.startswith("FDSize:")))
    assert slots() > 3000


def test_out_of_descriptors_is_survived(world):
    import resource
    broker = world.broker()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    script = f"ulimit -n 64; exec \"$0\" \"$@\""
    from harness import BINARY, Process
    config = world.directory / "few.yaml"
    config.write_text(yaml(broker.port))
    process = world.keep(Process(["bash", "-c", script, BINARY, "-c", str(config)], world.directory / "few.log"))
    import re
    port = int(wait_until(lambda: re.search(r"listening on \S+:(\d+),", process.text())).group(1))
    wait_until(lambda: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200)
    held = []
    for _ in range(100):
        one = socket.create_connection(("127.0.0.1", port), 10)
        held.append(one)
    wait_until(lambda: "out of file descriptors" in process.text())
    for one in held:
        one.close()

    def alive():
        try:
            return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
        except requests.exceptions.RequestException:
            return False
    wait_until(alive)
    process.signal(15)
    assert process.wait(10) == 0
