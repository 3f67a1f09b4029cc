"""What people report of Socket.IO servers: old libraries, proxies that change requests, headers of pages, many packets at once."""
import json
import re
import signal
import socket
import threading

import pytest
import requests
from conftest import yaml
from engineio_wire import get, gone, handshake, post, refused, url, websocket
from harness import wait_until

pytestmark = pytest.mark.memory
PAGE = "https://page.example"


@pytest.fixture(scope="module")
def gateway(shared):
    return shared.sluice(yaml(shared.main_broker.port, extra=f"workers: 3\nsocketio: true\nweb: {{ origins: [{PAGE}] }}\nlimits: {{ message_rate: 100000 }}\n"))


def joined(gateway):
    sid = handshake(gateway)["sid"]
    post(gateway, sid, "40")
    assert get(gateway, sid).text.startswith("40{")
    return sid


def polled(gateway, sid, text):
    """Polls until `text` has come, and returns all packets."""
    packets = []
    while not any(text in packet for packet in packets):
        packets += get(gateway, sid).text.split("\x1e")
    return packets


# --- old libraries ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", ["3", "2", "", "4.0", "04", "%34%20"])
def test_another_version_is_refused_and_the_log_says_why(gateway, version):
    refused(requests.get(f"{gateway.http}/socket.io/?EIO={version}&transport=polling", timeout=5), 5)
    assert "it speaks another version of Engine.IO than 4 (socket.io-client 3 or 4 expected, not 2)" in gateway.text()


def test_addresses_of_the_first_versions(gateway):
    for path in ("/socket.io/1/?t=1", "/socket.io/1/websocket/abc", "/socket.io/socket.io.js", "/socket.iox/", "/socket.io//"):
        assert requests.get(gateway.http + path, timeout=5).status_code == 404, path
    refused(requests.get(gateway.http + "/socket.io/", timeout=5), 0)


# --- proxies ------------------------------------------------------------------------------------------------------------

def raw(gateway, *lines, body=b""):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while b"\r\n\r\n" not in answer or b"Connection: close" in answer:
            piece = sock.recv(65536)
            if not piece:
                break
            answer += piece
        return answer.decode()


def test_a_proxy_that_speaks_http_1_0(gateway):
    """It can't upgrade, but it polls. A POST in chunks is one, too."""
    target = "/socket.io/?EIO=4&transport=polling"
    answer = raw(gateway, f"GET {target} HTTP/1.0", "Connection: close")
    sid = json.loads(answer.split("\r\n\r\n")[1][1:])["sid"]
    upgrade = raw(gateway, f"GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.0", "Upgrade: websocket", "Connection: close, upgrade",
                  "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    assert " 400 " in upgrade.split("\r\n")[0]
    chunks = b"2\r\n40\r\n0\r\n\r\n"
    assert raw(gateway, f"POST {target}&sid={sid} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked", "Connection: close", body=chunks).endswith("\r\n\r\nok")
    assert "40{" in raw(gateway, f"GET {target}&sid={sid} HTTP/1.0", "Connection: close")


def test_upgrade_headers_that_a_proxy_has_taken(gateway):
    """The session goes on polling, and the client hears 400 and stays there."""
    sid = joined(gateway)
    refused(requests.get(url(gateway, EIO=4, transport="websocket", sid=sid), timeout=5), 3)
    post(gateway, sid, '421["publish","lamps/proxy",1]')
    polled(gateway, sid, '431[{"status":"published"}]')


def test_parameters_that_others_add(gateway):
    query = "EIO=4&transport=polling&t=Nx&b64=1&token=a%26b&x=%F0%9F%98%80&empty=&=&flag&utm_source=s"
    opened = requests.get(f"{gateway.http}/socket.io/?{query}", timeout=5)
    sid = json.loads(opened.text[1:])["sid"]
    assert requests.post(f"{gateway.http}/socket.io/?{query}&sid={sid}", data="40", timeout=5).text == "ok"
    for wrong in (sid[:-1], sid + "A", sid.swapcase(), "", "../" + sid, "%00" * 20):
        refused(requests.get(url(gateway, EIO=4, transport="polling", sid=wrong), timeout=5), 1)


# --- pages of other origins ----------------------------------------------------------------------------------------------

def test_a_page_elsewhere_with_cookies_and_headers_of_its_own(gateway):
    """withCredentials wants the very origin, and extraHeaders make the browser ask first. Refusals must be readable, too."""
    asked = requests.options(url(gateway, EIO=4, transport="polling"), timeout=5, headers={
        "Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "my-custom-header,x-client_id"})
    assert asked.status_code == 204
    assert {"my-custom-header", "x-client_id", "authorization"} <= {name.strip().lower() for name in asked.headers["Access-Control-Allow-Headers"].split(",")}
    answers = [requests.get(url(gateway, **query), headers={"Origin": PAGE}, timeout=5)
               for query in ({"EIO": 4, "transport": "polling"}, {"EIO": 3, "transport": "polling"}, {"EIO": 4, "transport": "polling", "sid": "x"})]
    for answer in (asked, *answers):
        assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Access-Control-Allow-Credentials"]) == (PAGE, "true")
    sid = json.loads(answers[0].text[1:])["sid"]
    sent = requests.post(url(gateway, EIO=4, transport="polling", sid=sid), data="40", headers={"Origin": PAGE}, timeout=5)
    assert sent.text == "ok" and sent.headers["Access-Control-Allow-Origin"] == PAGE
    strange = requests.options(url(gateway, EIO=4, transport="polling"), timeout=5, headers={
        "Origin": PAGE, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "a;b<c>"})
    assert "a;b" not in strange.headers["Access-Control-Allow-Headers"]


def test_a_page_that_is_not_listed(gateway):
    for method in ("GET", "POST", "OPTIONS"):
        answer = requests.request(method, url(gateway, EIO=4, transport="polling"), headers={"Origin": "https://other.example"}, timeout=5)
        assert answer.status_code == 403 and "Access-Control-Allow-Origin" not in answer.headers, method


# --- packets ------------------------------------------------------------------------------------------------------------

def test_thousands_of_packets_in_one_body(gateway):
    sid = joined(gateway)
    body = "\x1e".join(f'42{n}["publish","lamps/many",{n}]' for n in range(4000))
    assert post(gateway, sid, body).text == "ok"
    packets = []
    while len(packets) < 4000:
        packets += [packet for packet in get(gateway, sid).text.split("\x1e") if packet.startswith("43")]
    ids = sorted(int(re.match(r"43(\d+)\[", packet).group(1)) for packet in packets)
    assert ids == list(range(4000))


def test_a_body_as_large_as_is_allowed_and_one_larger(gateway):
    opened = handshake(gateway)
    sid = opened["sid"]
    post(gateway, sid, "40")
    polled(gateway, sid, '["welcome"')
    frame = '421["publish","lamps/large","%s"]'
    fits = frame % ("x" * (opened["maxPayload"] - len(frame) + 2))
    assert len(fits) == opened["maxPayload"]
    assert post(gateway, sid, fits).text == "ok"
    polled(gateway, sid, "431[")
    assert post(gateway, sid, fits + " ").status_code == 413
    post(gateway, sid, '422["publish","lamps/large",2]')  # which the session survives
    polled(gateway, sid, '432[{"status":"published"}]')


def test_acknowledgements_that_nobody_asked_for(gateway):
    """Also binary ones, whose attachments belong to nothing but them."""
    with websocket(gateway) as ws:
        ws.recv()
        ws.send("40")
        for packet in ("430[]", '4399[{"a":1}]', '461-7[{"_placeholder":true,"num":0}]', b"\x00\x01", '421["hello"]'):
            ws.send(packet)
        while not (packet := ws.recv()).startswith("431"):
            assert packet.startswith(("40{", '42["welcome"'))
        assert '"hello"' in packet


@pytest.mark.parametrize("packets", [["40", "40"], ["40", '42["connect"]'], ["40", '42["disconnect","x"]'], ["40", "41", "41"],
                                     ["40", '4211["publish"', "3"], ["40", "4" + "0" * 200], ["40", '452-["x"]', '42["hello"]'],
                                     ["40", "42" + "9" * 30 + '["hello"]'], ["40/custom,", "42/custom,[1]"]])
def test_packets_out_of_turn_end_the_connection(gateway, packets):
    with websocket(gateway) as ws:
        ws.recv()
        for packet in packets:
            ws.send(packet)
        assert gone(ws).code == 1008


def test_it_may_join_again_after_it_left(gateway):
    with websocket(gateway) as ws:
        ws.recv()
        sids = []
        for _ in range(3):
            ws.send("40")
            while not (packet := ws.recv()).startswith("40"):
                pass
            sids.append(json.loads(packet[2:])["sid"])
            ws.send("41")
        assert len(set(sids)) == 3


# --- the end ------------------------------------------------------------------------------------------------------------

def test_clients_join_while_the_gateway_stops(world):
    """A CONNECT comes to a worker by letter, maybe when it has ended its sessions already."""
    sluice = world.sluice(yaml(world.broker().port, extra="workers: 3\nsocketio: true\n"))
    over, joins = threading.Event(), []

    def client():
        with requests.Session() as session:
            while not over.is_set():
                try:
                    opened = session.get(url(sluice, EIO=4, transport="polling"), timeout=5)
                    session.post(url(sluice, EIO=4, transport="polling", sid=json.loads(opened.text[1:])["sid"]), data="40", timeout=5)
                    joins.append(1)
                except (requests.RequestException, ValueError):
                    return
    threads = [threading.Thread(target=client) for _ in range(24)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(joins) > 200, what="clients")
    sluice.signal(signal.SIGTERM)
    status = sluice.wait(10)
    over.set()
    for thread in threads:
        thread.join()
    assert status == 0, sluice.text()[-2000:]
