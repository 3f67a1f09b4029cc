"""The clients: one for each transport, of stock libraries, and one that moves between transports with its cursor.

Each has an oracle of its own. Where a connection ends they connect again and resume, as docs/protocol.md tells clients to.
"""
import asyncio
import contextlib
import http.client
import json
import threading
import time
from urllib.parse import quote

import requests
import websockets

from oracle import matches, parse

SILENCE = 8  # seconds without anything after which a client connects again; the gateway's heartbeat is shorter
# Small buffers, so that a client that stops reading is felt soon; the new implementation has no read_limit.
WEBSOCKET = {"max_size": None, "max_queue": 4, "open_timeout": SILENCE, "close_timeout": 1, "compression": None}
if int(websockets.__version__.split(".")[0]) < 14:
    WEBSOCKET["read_limit"] = 8192


def later(a, b):
    """The later of two cursors; of different epochs the second."""
    (epoch, number), (other, last) = parse(a), parse(b)
    return a if epoch == other and number > last else b


class Client:
    """`filters` with a position each: None before the first message."""

    def __init__(self, name, proxy, oracle, random, filters, door=None):
        self.name, self.proxy, self.oracle, self.random = name, proxy, oracle, random
        self.door = door # with TLS and a token; None: plain, and nobody in particular
        self.position = dict.fromkeys(filters)
        self.frozen = threading.Event()
        self.closing = False
        self.errors = oracle.counts
        self.slow = False
        self.task = self.receiving = self.http = None

    def url(self, scheme, path):
        return f"{scheme}{'s' if self.door else ''}://127.0.0.1:{self.proxy.port}{path}"

    def start(self):
        self.task = asyncio.ensure_future(self.run())

    async def run(self):
        while not self.closing:
            try:
                await self.once()
            except (OSError, EOFError, websockets.WebSocketException, asyncio.TimeoutError, http.client.HTTPException,
                    requests.RequestException, ValueError) as error:
                self.errors["ended by " + type(error).__name__] += 1
                if isinstance(error, websockets.ConnectionClosed) and error.rcvd:
                    self.closed_by(error.rcvd.code, error.rcvd.reason)
            await asyncio.sleep(0.05 + self.random.random() * 0.4)

    def closed_by(self, code, reason):
        self.errors[f"close {code}"] += 1
        if code not in (1000, 1001, 1013):
            self.oracle.findings.add("close code", f"{self.name}: closed with {code} {reason!r}")

    async def while_frozen(self):
        while self.frozen.is_set() and not self.closing:
            self.slow = True
            await asyncio.sleep(0.05)

    def got(self, frame):
        kind = frame.get("type", "message")
        if kind == "message":
            self.oracle.message(frame)
        elif kind == "gap":
            self.oracle.gap(frame)
        elif kind == "error":
            self.oracle.counts["error " + frame["code"]] += 1
            if frame["code"] not in ("slow_consumer", "going_away"):
                self.oracle.findings.add("error", f"{self.name}: {frame}")

    # --- /ws ---

    async def ws(self, seconds=None, interval=None):
        end = time.monotonic() + seconds if seconds else None
        door = self.door.websocket if self.door else {}
        async with websockets.connect(self.url("ws", "/ws"), ping_interval=None, **WEBSOCKET, **door) as socket:
            welcome = json.loads(await asyncio.wait_for(socket.recv(), SILENCE))
            assert welcome["type"] == "welcome", welcome
            waiting = {} # filter: [last values to come, cursor of subscribed]
            self.answered = set() # filters whose `subscribed` has come
            for filter, cursor in self.position.items():
                frame = {"type": "subscribe", "id": filter, "channel": filter}
                if cursor:
                    frame["cursor"] = cursor
                else:
                    self.oracle.anew(filter)
                if interval:
                    frame["interval"] = interval
                await socket.send(json.dumps(frame))
            self.oracle.resumed()
            silent = 0
            while not self.closing and not (end and time.monotonic() > end and not waiting):
                await self.while_frozen()
                try:
                    frame = await self.next_frame(socket)
                    silent = 0
                except asyncio.TimeoutError:
                    silent += 1
                    if silent == SILENCE // 2:
                        await socket.send('{"type":"ping","id":"alive"}')
                    if silent >= SILENCE:
                        raise
                    continue
                self.frame(frame, waiting)

    async def next_frame(self, socket):
        """Within a second, else TimeoutError. Not wait_for(), which cancels recv() and could lose a frame with it."""
        if not self.receiving or self.receiving[0] is not socket:
            self.receiving = (socket, asyncio.ensure_future(socket.recv()))
            self.receiving[1].add_done_callback(lambda task: task.cancelled() or task.exception())
        task = self.receiving[1]
        done, _ = await asyncio.wait({task}, timeout=1)
        if not done:
            raise asyncio.TimeoutError
        self.receiving = None
        return json.loads(task.result())

    def frame(self, frame, waiting):
        kind = frame["type"]
        if kind == "subscribed":
            self.answered.add(frame["channel"])
            if self.position[frame["channel"]] is None:
                waiting[frame["channel"]] = [frame["snapshot"], frame["cursor"]]
                self.snapshot(waiting, frame["channel"])
            return # else the position stays, until a message moves it
        if not self.again(frame):
            self.got(frame)
        if kind != "message":
            return
        for filter in self.position:
            if filter not in self.answered or not matches(filter, frame["channel"]):
                continue
            if filter in waiting:
                waiting[filter][0] -= 1
                beyond = parse(frame["cursor"])[1] > parse(waiting[filter][1])[1]
                if beyond:
                    del waiting[filter]
                    self.position[filter] = frame["cursor"]
                else:
                    self.snapshot(waiting, filter)
            else:
                self.position[filter] = later(self.position[filter], frame["cursor"])

    def again(self, frame):
        return False

    def snapshot(self, waiting, filter):
        if waiting[filter][0] <= 0:
            self.position[filter] = waiting.pop(filter)[1]

    # --- /sse ---

    def query(self):
        return "&".join("channel=" + quote(filter, safe="") for filter in self.position)

    async def sse(self, seconds=None):
        await asyncio.to_thread(self.sse_blocking, seconds)

    def sse_blocking(self, seconds):
        end = time.monotonic() + seconds if seconds else None
        (filter,) = self.position
        if self.door:
            connection = http.client.HTTPSConnection("127.0.0.1", self.proxy.port, timeout=SILENCE, context=self.door.context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=SILENCE)
        try:
            headers = {"Accept": "text/event-stream", **(self.door.headers if self.door else {})}
            if self.position[filter]:
                headers["Last-Event-ID"] = self.position[filter]
            else:
                self.oracle.anew(filter)
            connection.request("GET", "/sse?" + self.query(), headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                self.oracle.counts[f"status {answer.status}"] += 1
                raise ValueError(answer.status)
            self.oracle.resumed()
            event, id, data = "message", None, []
            while not self.closing and not (end and time.monotonic() > end):
                while self.frozen.is_set() and not self.closing:
                    self.slow = True
                    time.sleep(0.05)
                line = answer.readline()
                if not line.endswith(b"\n"):
                    raise EOFError("the stream ended")
                name, _, value = line.decode().rstrip("\r\n").partition(":")
                value = value.removeprefix(" ")
                if name == "data":
                    data.append(value)
                elif name == "event":
                    event = value
                elif name == "id":
                    id = value
                elif not name and not line.strip():
                    if data and event != "upstream":
                        self.got(json.loads("\n".join(data)))
                    if id:
                        self.position[filter] = id
                    event, id, data = "message", None, []
        finally:
            connection.close()

    # --- /poll ---

    async def poll(self, times=1):
        (filter,) = self.position
        for _ in range(times):
            await self.while_frozen()
            if self.closing:
                return
            if not self.http:
                self.http = requests.Session()
                self.http.trust_env = False
                if self.door:
                    self.http.verify = str(self.door.cert)
                    self.http.headers.update(self.door.headers)
            url = self.url("http", f"/poll?{self.query()}&wait=3&cursor={quote(self.position[filter] or 'last')}")
            if not self.position[filter]:
                self.oracle.anew(filter)
            self.oracle.resumed()
            try:
                answer = await asyncio.to_thread(self.http.get, url, timeout=SILENCE)
            except Exception:
                self.http.close()
                self.http = None
                raise
            if answer.status_code not in (200, 204):
                self.oracle.counts[f"status {answer.status_code}"] += 1
                if answer.status_code != 503:
                    self.oracle.findings.add("error", f"{self.name}: {answer.status_code} {answer.text}")
                raise ValueError(answer.status_code)
            if answer.status_code == 200:
                body = answer.json()
                for frame in body["gaps"]:
                    self.oracle.gap(frame)
                for frame in body["messages"]:
                    self.oracle.message(frame)
            self.position[filter] = answer.headers["Sluice-Cursor"]

    async def stop(self):
        self.closing = True
        self.frozen.clear()
        with contextlib.suppress(asyncio.TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(self.task, SILENCE + 3)

    def has(self, marks):
        """Has it got to these numbers on all of its channels?"""
        for channel, n in marks.items():
            if any(matches(filter, channel) for filter in self.position):
                last = self.oracle.last.get(channel)
                if not last or last.n < n:
                    return False
        return True


class WsClient(Client):
    async def once(self):
        await self.ws()


class OverlappingClient(WsClient):
    """Filters that overlap are resumed from places of their own, so that what the one has brought can come again for the
    other. Such a client leaves out what is not later than the last of its channel."""

    def again(self, frame):
        last = self.oracle.last.get(frame.get("channel"))
        if frame["type"] != "message" or not last:
            return False
        epoch, number = parse(frame["cursor"])
        double = epoch == last.epoch and number <= last.seq
        self.oracle.counts["came again by another filter"] += double
        return double


class PacedClient(Client):
    async def once(self):
        await self.ws(interval="300ms")


class SseClient(Client):
    async def once(self):
        await self.sse()


class PollClient(Client):
    async def once(self):
        await self.poll()


class Mover(Client):
    """From /ws to /poll to /sse and back in mid-stream, always with the one cursor."""

    async def once(self):
        way = self.random.choice(("ws", "poll", "sse"))
        self.oracle.counts["moves to " + way] += 1
        if way == "ws":
            await self.ws(seconds=1 + self.random.random() * 3)
        elif way == "poll":
            await self.poll(self.random.randint(1, 4))
        else:
            await self.sse(seconds=1 + self.random.random() * 3)


class RawClient(Client):
    async def once(self):
        (filter,) = self.position
        self.oracle.anew(filter)
        async with websockets.connect(f"ws://127.0.0.1:{self.proxy.port}/channels/{quote(filter)}", ping_interval=2,
                                      ping_timeout=SILENCE, **WEBSOCKET) as socket:
            self.oracle.counts["connections"] += 1
            held, self.slow = self.proxy.slow, False
            async for text in socket:
                data = json.loads(text)
                self.oracle.raw_message(data, self.slow or held != self.proxy.slow)
                await self.while_frozen()
                if self.closing:
                    return
