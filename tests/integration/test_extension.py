"""Extensions from outside of the tree: tests/extension/ is compiled against include/gateway/ alone, in a folder that has nothing else,
and linked with the gateway's objects and another builtins.c. That program then runs with a real broker."""
import asyncio
import hashlib
import json
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

import cluster
import pytest
import websockets
from conftest import yaml
from harness import BINARY, ROOT, wait_until

pytestmark = pytest.mark.sanitize
ROUTES = """
  - topic: rooms/{room}
    codec: shout
    publish: {}
"""
LINES = "lines: { path: /lines, greeting: good day, words: { rooms/kitchen: Kitchen } }\n"
LATE = "late: { delay: 150ms, step: 10 }\n"
BUILD = pathlib.Path(BINARY).resolve().parent


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """The program, made of the objects of the build under test."""
    place = tmp_path_factory.mktemp("elsewhere")
    shutil.copytree(ROOT / "include", place / "include")
    sources = [pathlib.Path(shutil.copy(path, place)) for path in sorted((ROOT / "tests/extension").glob("*.[ch]"))]
    sources = [path for path in sources if path.suffix == ".c"]
    link = subprocess.run(["ninja", "-C", BUILD, "-t", "commands", "sluice"], check=True, capture_output=True, text=True).stdout
    words = shlex.split(link.splitlines()[-1].removeprefix(": && ").removesuffix(" && :"))
    sanitizers = [word for word in words if word.startswith("-fsanitize=")]
    for source in sources:
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-fPIE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitizers,
                        "-I", "include", "-c", source.name], cwd=place, check=True, timeout=60)
    out = words.index("-o")
    words[out + 1:out + 2] = [place / "toys", *(source.with_suffix(".o") for source in sources)]
    subprocess.run(words, cwd=BUILD, check=True, timeout=120)
    return str(place / "toys")


def run(binary, *args):
    done = subprocess.run([binary, *args], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


async def lines(sluice, channel):
    return await websockets.connect(f"{sluice.ws}/lines?channel={channel}", max_size=None)


async def test_all_of_them_at_work(world, binary):
    """A payload goes through the codec, the engine and the transport; numbers and delay are the engine's."""
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, routes=ROUTES, extra=LINES + LATE), binary=binary)
    client = world.mqtt(broker.port)
    socket = await lines(sluice, "rooms/%2B")
    begin = time.monotonic()
    client.publish("rooms/kitchen", "warm")
    assert await asyncio.wait_for(socket.recv(), 10) == 'good day Kitchen "WARM"'
    assert time.monotonic() - begin >= 0.15
    for i in range(50):
        client.publish("rooms/hall", f"n{i}")
    for i in range(50):
        assert await asyncio.wait_for(socket.recv(), 10) == f'good day rooms/hall "N{i}"'
    await socket.close()
    messages = sluice.get("/channels/rooms/hall/history").json()["messages"]
    numbers = [int(message["cursor"].rsplit(".", 1)[1]) for message in messages]
    assert numbers == list(range(20, 20 + 10 * 50, 10))
    assert {message["data"] for message in messages} == {f"N{i}" for i in range(50)}
    # What the codec refuses is no message; what the engine loses is told.
    cursor = messages[-1]["cursor"]
    client.publish("rooms/hall", "no".encode() + b"\xc3\xa9")
    client.publish("rooms/hall", "lose")
    client.publish("rooms/hall", "found")
    wait_until(lambda: sluice.get("/channels/rooms/hall").json()["data"] == "FOUND", what="the last message")
    answer = sluice.get(f"/poll?channel=rooms/hall&cursor={cursor}").json()
    assert [message["data"] for message in answer["messages"]] == ["FOUND"]
    assert answer["gaps"] and int(answer["gaps"][0]["to"].rsplit(".", 1)[1]) == 520
    assert sluice.metric("sluice_mqtt_messages_total") >= 53
    assert '{transport="lines"}' in sluice.get("/metrics").text


def past(world, binary, options):
    """60 messages on two channels whose histories hold two each; the cursor of the first, and the number of each."""
    broker = world.broker()
    routes = "  - { topic: 'rooms/{room}', codec: shout, history: { count: 2 } }\n"
    sluice = world.sluice(yaml(broker.port, routes=routes, extra=f"late: {{ delay: 50ms, {options} }}\n"), binary=binary)
    client = world.mqtt(broker.port)
    for i in range(60):
        client.publish(f"rooms/{'ab'[i % 2]}", f"n{i}")
    wait_until(lambda: sluice.get("/channels/rooms/b").json().get("data") == "N59", what="the last message")
    cursor = sluice.get("/channels/rooms/b").json()["cursor"]
    return sluice, client, f"{cursor.rsplit('.', 1)[0]}.1"


async def answers(sluice, cursor, filters, count):
    """What a WebSocket gets that resumes from there: messages and gaps, until `count` messages have come."""
    messages, gaps = [], []
    async with websockets.connect(sluice.ws + "/ws") as socket:
        for filter in filters:
            await socket.send(json.dumps({"type": "subscribe", "channel": filter, "cursor": cursor}))
        while len(messages) < count:
            frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
            if frame["type"] == "message":
                messages.append(frame["data"])
            elif frame["type"] == "gap":
                gaps.append((frame["channel"], int(frame["from"].rsplit(".", 1)[1]), int(frame["to"].rsplit(".", 1)[1])))
    return messages, gaps


async def test_a_past_that_the_engine_brings(world, binary):
    """Clients get from the engine what the histories hold no more: all of it, once, in order, and then what comes live."""
    sluice, client, cursor = await asyncio.to_thread(past, world, binary, "keep: 1000")
    everything = [f"N{i}" for i in range(1, 60)]
    assert await answers(sluice, cursor, ["rooms/+"], 59) == (everything, [])
    assert await answers(sluice, cursor, ["rooms/a"], 29) == (everything[1::2], [])
    assert await answers(sluice, cursor, ["rooms/a", "rooms/#"], 59) == (everything, [])
    answer = await asyncio.to_thread(sluice.get, f"/poll?channel=rooms/%2B&cursor={cursor}&wait=0")
    assert ([message["data"] for message in answer.json()["messages"]], answer.json()["gaps"]) == (everything, [])
    live = asyncio.create_task(answers(sluice, cursor, ["rooms/+"], 99))
    for i in range(60, 100):
        # At the broker's pace: some come before the engine's answer, and some after.
        await asyncio.to_thread(client.publish, f"rooms/{'ab'[i % 2]}", f"n{i}")
    assert await live == ([f"N{i}" for i in range(1, 100)], [])
    assert sluice.metric("sluice_fetches_total") >= 5 and sluice.metric("sluice_fetches_failed_total") == 0


async def test_a_past_that_the_engine_has_in_part(world, binary):
    sluice, _, cursor = await asyncio.to_thread(past, world, binary, "keep: 20")
    assert await answers(sluice, cursor, ["rooms/+"], 20) == ([f"N{i}" for i in range(40, 60)], [("rooms/a", 1, 40), ("rooms/b", 1, 40)])


async def test_a_past_that_does_not_come(world, binary):
    """A gap, when the time is over; and nobody is held up who leaves before, not even the gateway itself."""
    sluice, _, cursor = await asyncio.to_thread(past, world, binary, "silent: true")
    for _ in range(100): # above the number that are asked for at a time
        async with websockets.connect(sluice.ws + "/ws") as socket:
            await socket.send(json.dumps({"type": "subscribe", "channel": "rooms/+", "cursor": cursor}))
            assert json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] == "welcome"
            assert json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] == "subscribed"
    begin = time.monotonic()
    assert await answers(sluice, cursor, ["rooms/+"], 4) == (["N56", "N57", "N58", "N59"], [("rooms/a", 1, 55), ("rooms/b", 1, 56)])
    assert time.monotonic() - begin >= 0.9
    assert "engine late has not given a part of its history in 1000 ms; clients get a gap" in sluice.text()
    assert sluice.metric("sluice_fetches_failed_total") == 1
    assert sluice.metric("sluice_fetches_total") == 64
    async with websockets.connect(sluice.ws + "/ws") as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": "rooms/+", "cursor": cursor}))
        await asyncio.to_thread(sluice.stop)


COLUMNS = "  - { topic: 'log/{site}', channel: 'log/{twin}/{column}', transform: { columns: { names: [time, temp], heading: 1 } } }\n"


def test_a_transform_at_work(world, binary):
    """It has options and a state, adds captures, and makes none, one and several messages, which the engine numbers."""
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, routes=COLUMNS, extra=LATE), binary=binary)
    client = world.mqtt(broker.port)
    for payload in ("time,temp", "12,21", "13,", "", "14,x", ",22,99"):
        client.publish("log/roof", payload)
    wait_until(lambda: sluice.get("/channels/log/roof/temp").json().get("data") == 22, what="the last message")

    def history(column):
        return [(m["data"], int(m["cursor"].rsplit(".", 1)[1])) for m in sluice.get(f"/channels/log/roof/{column}/history").json()["messages"]]
    assert history("time") == [(12, 10), (13, 30), (14, 40)]
    assert history("temp") == [(21, 20), (22, 50)]
    wait_until(lambda: "on 'log/roof': transform columns says bad_request: a column of 4 bytes of text is no number" in sluice.text())
    assert sluice.metric("sluice_mqtt_codec_dropped_total") == 1


def test_what_waits_in_the_engine_is_handed_over_at_a_stop(world, binary):
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, routes=ROUTES, extra="late: { delay: 10s }\n"), binary=binary)
    client = world.mqtt(broker.port)
    for i in range(100):
        client.publish("rooms/a", str(i))
    wait_until(lambda: sluice.metric("sluice_mqtt_messages_total") >= 100, what="the messages to come in")
    assert sluice.get("/channels/rooms/a").status_code == 404
    sluice.stop()


async def test_a_transport_is_off_without_its_table(world, binary):
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, routes=ROUTES), binary=binary)
    with pytest.raises(websockets.InvalidStatusCode) as refused:
        await lines(sluice, "rooms/a")
    assert refused.value.status_code == 404
    # The first engine is in force then: nothing is late, and numbers go by one.
    client = world.mqtt(broker.port)
    for i in range(3):
        client.publish("rooms/a", str(i))
    wait_until(lambda: sluice.get("/channels/rooms/a").json().get("data") == "2", what="the last message")
    messages = sluice.get("/channels/rooms/a/history").json()["messages"]
    assert [int(message["cursor"].rsplit(".", 1)[1]) for message in messages] == [1, 2, 3]


async def test_a_reload_brings_a_transport_new_options(world, binary):
    broker = world.broker()
    text = yaml(broker.port, routes=ROUTES, extra=LINES + LATE)
    sluice = world.sluice(text, binary=binary)
    client = world.mqtt(broker.port)
    said = "another engine, or other options of it, take effect at the next start only"

    def reload(new):
        sluice.config.write_text(new)
        count = sluice.text().count("reloaded")
        sluice.signal(signal.SIGHUP)
        wait_until(lambda: sluice.text().count("reloaded") > count, what="the reload")

    socket = await lines(sluice, "rooms/a")
    client.publish("rooms/a", "x")
    assert await asyncio.wait_for(socket.recv(), 10) == 'good day rooms/a "X"'
    await asyncio.to_thread(reload, text.replace("good day", "hello").replace("path: /lines", "path: /rows"))
    assert said not in sluice.text()
    wait_until(lambda: sluice.get("/rows").status_code == 400, what="the new path")
    assert sluice.get("/lines").status_code == 404
    client.publish("rooms/a", "y") # the session goes on, with the new greeting
    assert await asyncio.wait_for(socket.recv(), 10) == 'hello rooms/a "Y"'
    await asyncio.to_thread(reload, text.replace("step: 10", "step: 20"))
    assert said in sluice.text()
    wait_until(lambda: sluice.get("/lines").status_code == 400, what="the old path")
    client.publish("rooms/a", "z")
    assert await asyncio.wait_for(socket.recv(), 10) == 'good day rooms/a "Z"'
    assert sluice.get("/channels/rooms/a").json()["cursor"].endswith(".30")
    await asyncio.to_thread(reload, text.replace(LINES, ""))
    client.publish("rooms/a", "z")
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await asyncio.wait_for(socket.recv(), 10)
    assert closed.value.rcvd.reason == "switched off"


async def test_presence_counts_subscribers(world, binary):
    """Whatever the transport, and however a session ends: 0 is 0 again."""
    broker = world.broker()
    text = yaml(broker.port, routes=ROUTES + "  - topic: halls/{hall}\n", extra="workers: 2\npresent: {}\nlines: { path: /lines }\n")
    sluice = world.sluice(text, binary=binary)

    def present(channel):
        return int(sluice.get("/present", params={"channel": channel}).text)

    async def count(channel, wanted):
        await asyncio.to_thread(wait_until, lambda: present(channel) == wanted, 10, f"{wanted} on {channel}, not {present(channel)}")

    sockets = [await websockets.connect(sluice.ws + "/ws") for _ in range(10)]
    for number, socket in enumerate(sockets):
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": "rooms/a"}))
        await socket.send(json.dumps({"type": "subscribe", "id": 2, "channel": "rooms/+" if number % 2 else "halls/b"}))
        await socket.send(json.dumps({"type": "subscribe", "id": 3, "channel": "rooms/a"})) # anew
        await socket.send(json.dumps({"type": "subscribe", "id": 4, "channel": "nowhere/c"})) # refused
    rows = [await lines(sluice, "rooms/a") for _ in range(3)]
    await count("rooms/a", 13)
    await count("rooms/+", 5)
    await count("halls/b", 5)
    await count("nowhere/c", 0)
    for socket in sockets[:4]:
        await socket.send(json.dumps({"type": "unsubscribe", "id": 5, "channel": "rooms/a"}))
        await socket.send(json.dumps({"type": "unsubscribe", "id": 6, "channel": "rooms/a"})) # there is none
    await count("rooms/a", 9)
    assert int(sluice.get("/present").text) == 0
    polling = asyncio.create_task(asyncio.to_thread(sluice.get, "/poll?channel=halls/poll&wait=30", timeout=40))
    await count("halls/poll", 1)
    # A reload does not begin to count, nor does it stop: half of a count is none.
    reloads = [text.replace("present: {}", "present: false"), text]
    for seen, new in enumerate(reloads, 1):
        sluice.config.write_text(new)
        sluice.signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda seen=seen: sluice.text().count("reloaded") == seen)
        await asyncio.to_thread(wait_until, lambda new=new: sluice.get("/present").status_code == (200 if new is text else 404))
        if new is not text:
            await sockets.pop().close()
    await count("rooms/a", 8)
    await sockets.pop().close()
    sockets.pop().transport.abort() # without a word
    await rows.pop().close()
    await count("rooms/a", 5)
    world.mqtt(broker.port).publish("halls/poll", "x")
    assert (await polling).status_code == 200
    await count("halls/poll", 0)
    for socket in sockets + rows:
        await socket.close()
    for channel in ("rooms/a", "rooms/+", "halls/b"):
        await count(channel, 0)
    await asyncio.to_thread(wait_until, lambda: int(sluice.get("/present").text) == 14, 10, "14 sessions to be closed")


@pytest.mark.parametrize("extra, wanted", [
    ("lines: { paht: /lines }\n", ["9:8: lines.path: it is missing", "9:10: lines.paht: unknown key (did you mean path?)"]),
    ("lines: { path: lines }\n", ["9:16: lines.path: 'lines' is no path (such as /lines expected)"]),
    ("lines:\n  path: /x\n  words:\n    a/b: one\n    c/d: one two\n",
     ["13:10: lines.words.c/d: 'one two' is more than a word (one word expected)"]),
    ("late: { delay: 11s }\n", ["9:16: late.delay: 11s is out of range (1ms to 10s expected)"]),
    ("late:\n  step: ${NO_SUCH_VARIABLE:-zero}\n", ["10:9: late.step: 'zero' is no number"]),
    ("ligns: {}\n", ["9:1: ligns: unknown key (did you mean lines?)"]),
    ("late: {}\nstorage: { path: h.db }\n", ["9:7: late: there is storage: as well (one of the two expected)"]),
])
def test_check_names_wrong_keys(tmp_path, binary, extra, wanted):
    file = tmp_path / "wrong.yaml"
    file.write_text("broker:\n  url: mqtt://b\nlisten:\n  - address: 127.0.0.1:0\nroutes:\n  - topic: rooms/{room}\n    codec: shout\n\n" + extra)
    status, _, text = run(binary, "check", str(file))
    assert status == 2
    for line in wanted:
        assert f"{file}:{line}" in text, text
    assert len(text.splitlines()) == len(wanted), text


@pytest.mark.parametrize("transform, wanted", [
    ("{ columns: { heading: 1 } }", "transform.columns.names: it is missing (a text or a list of texts expected)"),
    ("{ columns: { names: [a, b, c, d] } }", "transform: 4 columns are too many (at most 3 expected)"),
    ("{ columns: { names: a, heding: 1 } }", "transform.columns.heding: unknown key (did you mean heading?)"),
    ("split", "transform: there is no 'split' (one of: columns expected)"),
])
def test_check_names_what_is_wrong_with_a_transform(tmp_path, binary, transform, wanted):
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml(1883, routes=f"  - {{ topic: 'a/{{site}}', channel: '{{twin}}/{{column}}', transform: {transform} }}\n"))
    status, _, text = run(binary, "check", str(file))
    assert status == 2 and f"routes[0].{wanted}\n" in text, text
    file.write_text(file.read_text().replace("transform:", "publish: {}, transform:"))
    assert "routes[0].publish: what transform columns takes apart can't be put together" in run(binary, "check", str(file))[2] or transform == "split"


def test_check_takes_a_good_file_and_environment(tmp_path, binary, monkeypatch):
    monkeypatch.setenv("LINES_PATH", "/from/environment")
    file = tmp_path / "good.yaml"
    file.write_text(yaml(1883, routes=ROUTES, extra='lines: { path: "${LINES_PATH}" }\nlate:\n'))
    assert run(binary, "check", str(file))[0] == 0


def test_documents_describe_them(binary):
    schema = json.loads(run(binary, "schema")[1])["properties"]
    assert schema["lines"]["anyOf"][1]["required"] == ["path"]
    assert schema["late"]["anyOf"][1]["properties"]["step"]["default"] == 1
    names = json.loads(run(binary, "schema")[1])["properties"]["routes"]["items"]["properties"]["transform"]["anyOf"]
    assert names[0]["enum"] == ["columns"] and names[2]["properties"]["columns"]["required"] == ["names"]
    assert "| `routes[].transform.columns.heading` | number | 0 | 0 to 9 | So many lines of the route are its heading. |" in run(binary, "reference")[1]
    assert "| `lines.words` | names and texts |  |  | What is said in place of a channel's name. |" in run(binary, "reference")[1]
    assert re.search(r"late\.delay\\fR \(duration; default 50ms; 1ms to 10s\)", run(binary, "reference", "--man")[1])


def test_gateways_that_share_an_engine_from_elsewhere(world, binary):
    """One cursor over two of them, whichever dies or hangs; a ticket is good once."""
    broker = world.broker(config=cluster.BROKER)
    key = hashlib.sha256(b"somebody").hexdigest()
    extra = (f"auth: {{ anonymous: [all], api_keys: [ {{ name: one, hash: 'sha256:{key}', roles: [all] }} ] }}\n"
             "roles: { all: { subscribe: 'rooms/#', history: 'rooms/#' } }\n"
             f"ledger: {{ path: {world.directory}/ledger, node: %s, lease: 300ms }}\n")

    def start(name, port=0):
        text = yaml(broker.port, "  - { topic: 'rooms/{room}', codec: shout, qos: 1, history: { count: 1000 } }\n", extra=extra % name,
                    broker="  client_id: shared\n  session_expiry: 1h\n", listen=f"127.0.0.1:{port}")
        return world.sluice(text.replace("100ms", "50ms"), binary=binary)

    def leader(others):
        return wait_until(lambda: next((node for node in others if node.metric("sluice_engine_leader") == 1), None), 10, "a leader")

    nodes = [start("a"), start("b")]
    for node in nodes:
        node.wait_ready()
    publisher, got, cursor = world.mqtt(broker.port), [], None
    sent = 0

    def carry_on(count, nodes):
        """Publishes so many more, and polls them from each node in turn, with one cursor."""
        nonlocal cursor, sent
        for sent in range(sent + 1, sent + count + 1):
            publisher.publish("rooms/a", f"n{sent}", qos=1)

        def poll():
            nonlocal cursor
            nodes.append(nodes.pop(0))
            place = f"cursor={cursor}" if cursor else "since=-10m"
            answer = nodes[0].get(f"/poll?channel=rooms/a&wait=1&{place}")
            assert answer.status_code in (200, 204), answer.text
            if answer.status_code == 200:
                assert not answer.json().get("gaps"), answer.text
                got.extend(message["data"] for message in answer.json()["messages"])
                cursor = answer.json()["cursor"]
            return len(got) >= sent
        wait_until(poll, 15, f"{sent} messages")

    carry_on(30, list(nodes))
    dead = leader(nodes)
    dead.child.kill()
    dead.child.wait()
    other = next(node for node in nodes if node is not dead)
    carry_on(30, [other])
    nodes[nodes.index(dead)] = dead = start("c", dead.port)
    carry_on(30, list(nodes))
    hung = leader(nodes)
    hung.signal(signal.SIGSTOP)
    other = next(node for node in nodes if node is not hung)
    publisher.publish("rooms/b", "meanwhile", qos=1)
    leader([other])
    hung.signal(signal.SIGCONT)
    wait_until(lambda: hung.metric("sluice_engine_leader") == 0, what="the one that hung to know")
    carry_on(30, list(nodes))
    assert got == [f"N{i}" for i in range(1, sent + 1)]
    histories = wait_until(lambda: (lambda all: min(map(len, all)) >= sent and all)(
        [node.get("/channels/rooms/a/history?limit=1000").json()["messages"] for node in nodes]), what="both histories")
    assert histories[0] == histories[1] and [message["data"] for message in histories[0]] == got
    ticket = nodes[0].post("/ticket", headers={"Authorization": "Bearer somebody"}).json()["ticket"]
    assert [nodes[i].get(f"/poll?channel=rooms/a&wait=0&ticket={ticket}").status_code for i in (1, 0, 1)] == [204, 401, 401]
