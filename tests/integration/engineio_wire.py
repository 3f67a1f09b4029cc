"""Engine.IO 4 by hand, for tests that look at single requests and packets."""
import json

import pytest
import requests
from websocket import ABNF, create_connection

CODES = {0: "Transport unknown", 1: "Session ID unknown", 2: "Bad handshake method", 3: "Bad request", 5: "Unsupported protocol version"}


def url(sluice, **query):
    return sluice.http + "/socket.io/?" + "&".join(f"{key}={value}" for key, value in query.items())


def handshake(sluice):
    answer = requests.get(url(sluice, EIO=4, transport="polling"), timeout=5)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert answer.text[0] == "0"
    return json.loads(answer.text[1:])


def get(sluice, sid):
    return requests.get(url(sluice, EIO=4, transport="polling", sid=sid), timeout=40)


def post(sluice, sid, body, **headers):
    return requests.post(url(sluice, EIO=4, transport="polling", sid=sid), data=body, timeout=10,
                         headers={"Content-Type": "text/plain;charset=UTF-8", **headers})


def refused(answer, code):
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"code": code, "message": CODES[code]}


class Closed(Exception):
    def __init__(self, data):
        self.code = int.from_bytes(data[:2], "big")
        self.reason = data[2:].decode()


class websocket:
    """A frame a packet, as with websockets, but a close frame is an exception."""

    def __init__(self, sluice, sid=None):
        query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
        self.inner = create_connection(f"{sluice.ws}/socket.io/?{query}", timeout=10)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.inner.close(timeout=1)

    def send(self, packet):
        self.inner.send(packet, ABNF.OPCODE_TEXT if isinstance(packet, str) else ABNF.OPCODE_BINARY)

    def recv(self, timeout=10):
        self.inner.settimeout(timeout)
        opcode, data = self.inner.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            raise Closed(data)
        return data.decode() if opcode == ABNF.OPCODE_TEXT else data


def gone(ws):
    with pytest.raises(Closed) as closed:
        while True:
            ws.recv()
    return closed.value
