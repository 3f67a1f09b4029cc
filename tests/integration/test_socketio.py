"""Engine.IO 4 and Socket.IO 5 to the letter, by requests and websockets; stock clients are in tests/browser."""
import concurrent.futures
import json
import re
import time

import pytest
import requests
from conftest import ROUTES, yaml
from engineio_wire import Closed, get, gone, handshake, post, refused, url, websocket
from harness import wait_until

pytestmark = pytest.mark.sanitize
QUICK = "workers: 3\nsocketio: { ping_interval: 300ms, ping_timeout: 200ms, connect_timeout: 1s, namespaces: [/custom] }"


@pytest.fixture
def quick(world):
    broker = world.broker()
    return world.sluice(yaml(broker.port, extra=QUICK))


@pytest.fixture
def calm(world):
    broker = world.broker()
    return world.sluice(yaml(broker.port, extra="workers: 3\nsocketio: true"))


# --- Engine.IO ---------------------------------------------------------------------------------------------------------

def test_handshake(quick):
    session = handshake(quick)
    assert set(session) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert re.fullmatch(r"[\w-]{20}", session["sid"])
    assert session["upgrades"] == ["websocket"] and (session["pingInterval"], session["pingTimeout"]) == (300, 200)
    assert session["maxPayload"] == 1024 * 1024 or session["maxPayload"] > 0
    with websocket(quick) as ws:
        opened = json.loads(ws.recv()[1:])
        assert opened["upgrades"] == [] and opened["sid"] != session["sid"]
        assert ws.recv(timeout=2) == "2"
        ws.send("3")
        assert ws.recv(timeout=2) == "2"


def test_refusals(calm):
    get_ = lambda **query: requests.get(url(calm, **query), timeout=5)  # noqa: E731
    refused(get_(EIO=4), 0)
    refused(get_(EIO=4, transport="carrier-pigeon"), 0)
    refused(get_(EIO=4, transport="polling", sid="x"), 1)
    refused(get_(EIO=4, transport="polling", sid="A" * 20), 1)
    refused(requests.post(url(calm, EIO=4, transport="polling"), timeout=5), 2)
    refused(requests.put(url(calm, EIO=4, transport="polling"), timeout=5), 2)
    refused(get_(EIO=4, transport="websocket"), 3)
    for version in "3", "5", "x", "":
        refused(get_(EIO=version, transport="polling"), 5)
    refused(get_(transport="polling"), 5)
    sid = handshake(calm)["sid"]
    refused(get_(EIO=4, transport="websocket", sid=sid), 3)
    for method in "PUT", "HEAD", "DELETE":
        answer = requests.request(method, url(calm, EIO=4, transport="polling", sid=sid), timeout=5)
        assert answer.status_code == 405 and answer.headers["Allow"] == "GET, POST"
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    for query, code in [("EIO=4", 0), ("EIO=4&transport=websocket&sid=x", 1), ("EIO=3&transport=websocket", 5), ("EIO=4&transport=polling", 3)]:
        refused(requests.get(calm.http + "/socket.io/?" + query, headers=upgrade, timeout=5), code)
    assert requests.get(calm.http + "/socket.io?EIO=4&transport=polling&t=x&b64=1&own=2", timeout=5).status_code == 200
    assert requests.get(calm.http + "/socket.io/x?EIO=4&transport=polling", timeout=5).status_code == 404


def test_without_socketio_there_is_none(world):
    sluice = world.sluice(yaml(world.broker().port))
    assert requests.get(url(sluice, EIO=4, transport="polling"), timeout=5).status_code == 404


def test_polling(calm):
    sid = handshake(calm)["sid"]
    answer = post(calm, sid, "40")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (200, "ok", "text/html")
    packets = get(calm, sid).text.split("\x1e")
    assert packets[0].startswith('40{"sid":"') and sid not in packets[0]
    assert packets[1].startswith('42["welcome",')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(get, calm, sid)
        # Several packets in one body.
        assert post(calm, sid, '420["subscribe","lamps/+"]\x1e421["publish","lamps/a",1]\x1e422["dance"]').text == "ok"
        packets = []
        while not any(packet.startswith("43") and "published" in packet for packet in packets) or '42["message"' not in "".join(packets):
            packets += held.result(10).text.split("\x1e")
            held = pool.submit(get, calm, sid)
        acks = [packet for packet in packets if packet.startswith("43")]
        assert [re.match(r"43(\d+)", ack).group(1) for ack in acks] == ["0", "2", "1"]
        assert post(calm, sid, "1").text == "ok"
        held.result(10)
    refused(get(calm, sid), 1)
    refused(post(calm, sid, "3"), 1)


def test_a_poll_that_crosses_the_farewell(calm):
    """They are two connections, and the kernel may hand over the second one first: the poll is no error."""
    for _ in range(20):
        sid = handshake(calm)["sid"]
        post(calm, sid, "40")
        assert post(calm, sid, "1").text == "ok"
        refused(post(calm, sid, "40"), 1)
        assert get(calm, sid).text == "6"
        refused(get(calm, sid), 1)
    left = handshake(calm)["sid"]
    assert post(calm, left, "1").text == "ok"
    with websocket(calm, left) as ws:
        ws.send("2probe")
        ws.send("5")
        gone(ws)
    late = handshake(calm)["sid"]
    assert post(calm, late, "1").text == "ok"
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 1.5, what="the time")
    refused(get(calm, late), 1)


def test_binary_by_polling(calm):
    sid = handshake(calm)["sid"]
    post(calm, sid, "40")
    get(calm, sid)
    post(calm, sid, '420["subscribe","lamps/+"]')
    post(calm, sid, '451-1["publish","lamps/b",{"_placeholder":true,"num":0}]\x1ebAP/+')
    text = ""
    while '"lamps/b"' not in text or "431" not in text:
        text += "\x1e" + get(calm, sid).text
    packets = text.split("\x1e")
    at = next(i for i, packet in enumerate(packets) if packet.startswith('451-["message"'))
    assert packets[at + 1] == "bAP/+"
    # An attachment that does not come, one too many, bad base64.
    for body in '451-1["publish","lamps/b",{"_placeholder":true,"num":0}]\x1e3\x1e420["x"]', "bAP/+", "b!", '451-["x"]\x1eb=':
        sid = handshake(calm)["sid"]
        post(calm, sid, "40")
        refused(post(calm, sid, body), 3)
        refused(get(calm, sid), 1)


def test_pings_by_polling(quick):
    sid = handshake(quick)["sid"]
    post(quick, sid, "40")
    get(quick, sid)
    for _ in range(3):
        assert get(quick, sid).text == "2"
        assert post(quick, sid, "3").text == "ok"
    assert get(quick, sid).text == "2"
    wait_until(lambda: get(quick, sid).status_code == 400, what="the end of a session without pongs")
    refused(get(quick, sid), 1)


def test_a_poll_at_the_moment_a_pong_is_due(quick):
    """The session ends by the clock, not when a timer happens to fire: a client counts from its handshake."""
    def poll_late(_):
        session = handshake(quick)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() >= begun + (session["pingInterval"] + session["pingTimeout"]) / 1000, what="the time")
        return get(quick, session["sid"])
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(poll_late, range(40)):
            refused(answer, 1)


def test_pings_by_websocket(quick):
    with websocket(quick) as ws:
        ws.recv()
        ws.send("40")
        gone(ws)  # nobody sends pongs
    with websocket(quick) as ws:
        ws.recv()
        ws.send("2")
        gone(ws)
    with websocket(quick) as ws:
        ws.recv()
        ws.send("1")
        gone(ws)


def test_no_namespace_in_time(quick):
    with websocket(quick) as ws:
        assert ws.recv()[0] == "0"
        with pytest.raises(Closed) as closed:
            while True:
                if ws.recv(timeout=5) == "2":
                    ws.send("3")
        assert closed.value.code == 4401


def test_two_polls_at_once(calm):
    sid = handshake(calm)["sid"]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = [pool.submit(get, calm, sid) for _ in range(2)]
        answers = [answer.result(10) for answer in answers]
    assert sorted(answer.status_code for answer in answers) == [200, 400]
    assert [answer.text for answer in answers if answer.status_code == 200] == ["1"]
    refused(get(calm, sid), 1)


def test_a_poll_that_is_cut_ends_the_session(calm):
    sid = handshake(calm)["sid"]
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url(calm, EIO=4, transport="polling", sid=sid), timeout=0.3)
    wait_until(lambda: get(calm, sid).status_code == 400, what="its end")


@pytest.mark.parametrize("body", ["x", "", "7", "0{}", "5", "\x1e", "2", "4", "49", "42", '42["connect"]', '40[]', '42["x"]', "44{}", "abc\x1e3", "4" + "[" * 5000])
def test_rubbish_ends_the_session(calm, body):
    sid = handshake(calm)["sid"]
    refused(post(calm, sid, body), 3)
    refused(get(calm, sid), 1)
    with websocket(calm) as ws:
        ws.recv()
        ws.send(body)
        closed = gone(ws)
        assert closed.code == 1008 and closed.reason.startswith("bad_request: ")


def test_octets_and_large_bodies(calm):
    sid = handshake(calm)["sid"]
    refused(post(calm, sid, b"\x00", **{"Content-Type": "application/octet-stream"}), 3)
    assert post(calm, sid, "4" + " " * (2 * 1024 * 1024)).status_code == 413


# --- upgrades -------------------------------------------------------------------------------------------------------------

def test_upgrade(calm):
    sid = handshake(calm)["sid"]
    post(calm, sid, "40")
    get(calm, sid)
    with concurrent.futures.ThreadPoolExecutor() as pool, websocket(calm, sid) as ws:
        held = pool.submit(get, calm, sid)
        ws.send("2probe")
        assert ws.recv(timeout=5) == "3probe"
        assert held.result(10).text == "6"
        assert get(calm, sid).text == "6"  # and so is every other one now
        post(calm, sid, '420["subscribe","lamps/+"]')
        assert get(calm, sid).text.startswith("430[")
        ws.send("5")
        ws.send('421["publish","lamps/u",1]')  # at once, while the session may be on its way
        got = []
        while not any("published" in packet for packet in got) or not any("lamps/u" in packet for packet in got):
            got.append(ws.recv(timeout=5))
        refused(get(calm, sid), 3)
        refused(post(calm, sid, "3"), 3)
        with websocket(calm, sid) as second:  # opened and closed: a refused handshake would be an error to clients
            assert gone(second).code == 1008
        ws.send('422["unsubscribe","lamps/+"]')
        assert ws.recv(timeout=5) == '432[{"status":"unsubscribed"}]'
    wait_until(lambda: get(calm, sid).json()["code"] == 1, what="the end of the session")


@pytest.mark.parametrize("frames", [["5"], ["2prob"], ["3probe"], ["2probe", "2probe"], ["2probe", "6"], ["40"], [b"\x00"]])
def test_a_failed_probe_leaves_the_session_alone(calm, frames):
    sid = handshake(calm)["sid"]
    post(calm, sid, "40")
    get(calm, sid)
    with websocket(calm, sid) as ws:
        with websocket(calm, sid) as second:  # one at a time
            second.send("2probe")
            assert gone(second).code == 1008
        for frame in frames:
            ws.send(frame)
        gone(ws)
    post(calm, sid, '420["subscribe","lamps/+"]')
    assert "430[" in get(calm, sid).text
    with websocket(calm, sid) as ws:
        ws.send("2probe")
        assert ws.recv(timeout=5) == "3probe"


def test_a_session_that_ends_while_it_upgrades(calm):
    sid = handshake(calm)["sid"]
    with websocket(calm, sid) as ws:
        ws.send("2probe")
        assert ws.recv(timeout=5) == "3probe"
        post(calm, sid, "1")
        ws.send("5")
        gone(ws)


# --- Socket.IO ------------------------------------------------------------------------------------------------------------

def test_namespaces(quick):
    with websocket(quick) as ws:
        ws.recv()
        ws.send("40/random")
        assert ws.recv(timeout=5) == '44/random,{"message":"Invalid namespace"}'
        ws.send("40/custom")
        assert re.match(r'40/custom,\{"sid":"[\w-]{20}"', ws.recv(timeout=5))
        assert ws.recv(timeout=5).startswith('42/custom,["welcome",')
        ws.send('42/custom,7["subscribe","lamps/+"]')
        assert ws.recv(timeout=5).startswith("43/custom,7[{")
        ws.send("40")
        assert ws.recv(timeout=5).startswith(("42/custom,", "40{"))
        ws.send("41/custom,")
        ws.send('42["hello"]')  # the other one is still there
        ws.send('42/custom,["hello"]')  # this one is not
        gone(ws)
    with websocket(quick) as ws:
        ws.recv()
        ws.send("40")
        ws.send("40")
        gone(ws)


def test_limits(world):
    broker = world.broker()
    sluice = world.sluice(yaml(broker.port, extra="workers: 2\nsocketio: { sessions: 5 }\nlimits: { message_rate: 5, frame: 4KiB }"))
    sids = [handshake(sluice)["sid"] for _ in range(5)]
    answer = requests.get(url(sluice, EIO=4, transport="polling"), timeout=5)
    assert answer.status_code == 503 and answer.json()["code"] == "overloaded"
    assert "socketio.sessions (5) reached" in sluice.text()
    post(sluice, sids[0], "1")
    wait_until(lambda: requests.get(url(sluice, EIO=4, transport="polling"), timeout=5).status_code == 200, what="room")
    with websocket(sluice) as ws:  # those don't poll
        ws.recv()
        ws.send("40")
        for _ in range(1500):
            ws.send('420["dance"]')
        answers = []
        with pytest.raises(Closed) as closed:
            while True:
                answers.append(ws.recv())
        assert closed.value.code == 1008 and closed.value.reason.startswith("rate_limited")
        # Each is answered, but for those answers that wait for the socket when it is closed.
        assert any("rate_limited" in answer for answer in answers)
    with websocket(sluice) as ws:
        ws.recv()
        ws.send("40")
        ws.send('452-["publish","lamps/b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        ws.send(bytes(3000))
        ws.send(bytes(3000))
        gone(ws)
