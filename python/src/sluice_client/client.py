"""The client for asyncio, written from the protocol's description alone.

    async with Sluice("http://localhost:8080", token="…") as sluice:
        await sluice.subscribe("rooms/+/t", lambda message: print(message["channel"], message["data"]))
        await sluice.publish("lamps/1", {"state": "ON"})      # returns once the broker has it

It reconnects by itself with a back-off, resumes each subscription from its own position, and tells of what is missing.
"""
from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import random
import re
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, List, Optional, Set, TypedDict, Union

import websockets
import websockets.exceptions

WAITING = 10_000  # messages that may wait for a stream's loop


class _Said(TypedDict):
    channel: str
    data: Any
    cursor: str
    ts: int  # when the gateway got it, ms since 1970


class Message(_Said, total=False):
    retained: bool  # the broker sent it as a stored value
    cleared: bool  # the payload was empty, and the channel has no last value any more


Gap = TypedDict("Gap", {"channel": str, "from": str, "to": str, "reason": str})
OnMessage = Callable[[Message], Union[None, Awaitable[None]]]
OnGap = Callable[[Gap], None]
Token = Union[str, Callable[[], str]]


class Refused(Exception):
    """The gateway's answer was an error; `code` is its machine word."""

    def __init__(self, frame: Dict[str, Any]) -> None:
        super().__init__(f"{frame['code']}: {frame['message']}")
        self.code: str = frame["code"]


class _Subscription:
    def __init__(self, on_message: OnMessage, on_gap: Optional[OnGap], since: Optional[str]) -> None:
        self.on_message, self.on_gap = on_message, on_gap
        self.since = since  # where it begins while there is no cursor
        self.cursor: Optional[str] = None  # the position to resume from
        self.answered = False  # `subscribed` has come on this connection: from here on messages move the position
        self.seen: Dict[str, str] = {}  # by channel, the cursor of the last message: overlapping filters may repeat one
        self.snapshot = 0  # last values still to come
        self.pending: Optional[str] = None  # subscribed.cursor, the position once they are there

    def move(self, cursor: str) -> None:
        if not self.answered:
            return  # brought by another subscription; what this one has missed is still to come
        if not self.pending:
            self.cursor = cursor
            return
        # The position is known once all last values are there, or something later than them.
        self.snapshot -= 1
        if _number(cursor) > _number(self.pending):
            self.cursor, self.pending = cursor, None
        elif self.snapshot == 0:
            self.cursor, self.pending = self.pending, None

    def is_new(self, channel: str, cursor: str) -> bool:
        if not _later(cursor, self.seen.get(channel)):
            return False
        self.seen[channel] = cursor
        return True


def _matches(wanted: str, channel: str) -> bool:
    """MQTT's rule: `+` one level, `#` the rest and the level before; neither matches a leading `$`."""
    if channel.startswith("$") and wanted[0] in "+#":
        return False
    names, levels = channel.split("/"), wanted.split("/")
    for index, level in enumerate(levels):
        if level == "#":
            return True
        if index >= len(names) or (level != "+" and level != names[index]):
            return False
    return len(names) == len(levels)


def _number(cursor: str) -> int:
    return int(cursor.rsplit(".", 1)[1])


def _later(cursor: str, than: Optional[str]) -> bool:
    """Of another epoch counts as later: they can't be compared."""
    return than is None or cursor.rsplit(".", 1)[0] != than.rsplit(".", 1)[0] or _number(cursor) > _number(than)


class Sluice:
    def __init__(self, url: str, token: Optional[Token] = None, on_upstream: Optional[Callable[[str], None]] = None) -> None:
        if not re.match(r"(http|ws)s?://", url):
            raise ValueError(f"{url!r} is no address of a gateway, such as http://gateway:8080")
        self._http = re.sub(r"^ws", "http", url).rstrip("/")
        self._token, self._on_upstream = token, on_upstream
        self._subscriptions: Dict[str, _Subscription] = {}
        self._answers: Dict[int, asyncio.Future[Dict[str, Any]]] = {}
        self._confirming: Set[int] = set()  # of those, the ones that wait for a device
        self._ids = itertools.count(1)
        self._socket: Any = None
        self._connected = asyncio.Event()  # also when the token was refused: then _failure says so
        self._failure: Optional[Refused] = None
        self._task: Optional[asyncio.Task[None]] = None

    async def __aenter__(self) -> Sluice:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def subscribe(self, channel: str, on_message: OnMessage, on_gap: Optional[OnGap] = None, since: Optional[str] = None) -> None:
        """A channel's name or an MQTT filter: the last values first, then what comes. It stays over lost connections.

        With `since` ("10m", "2026-11-28T10:00:00Z"), everything that the gateway still has from then on comes first instead."""
        self._subscriptions[channel] = _Subscription(on_message, on_gap, since)
        await self._ready()
        try:
            await self._send_subscribe(channel)
        except Refused:
            self._subscriptions.pop(channel, None)
            raise

    async def unsubscribe(self, channel: str) -> None:
        if self._subscriptions.pop(channel, None) and self._socket is not None and self._connected.is_set():
            await self._ask({"type": "unsubscribe", "channel": channel})

    async def stream(self, channel: str) -> AsyncIterator[Message]:
        """`async for message in sluice.stream("rooms/+/t")`: a subscription that ends with the loop."""
        queue: asyncio.Queue[Message] = asyncio.Queue(WAITING)
        full = False

        def take(message: Message) -> None:
            nonlocal full
            full = full or queue.full()
            if not full:
                queue.put_nowait(message)

        await self.subscribe(channel, take)
        try:
            while not full or not queue.empty():
                yield await queue.get()
            raise OverflowError(f"more than {WAITING} messages of {channel} wait for the loop")
        finally:
            await asyncio.gather(self.unsubscribe(channel), return_exceptions=True)

    async def publish(self, channel: str, data: Any, confirm: bool = False, key: Optional[str] = None) -> str:
        """Returns "published" once the broker has it, or "accepted" at QoS 0.

        With `confirm`: "confirmed" once the device's state shows it, or "timeout" if it does not in time, where the route
        has publish.confirm. `key`: an idempotency key, new for each command: with the same one it may be sent again.
        """
        await self._ready()
        frame: Dict[str, Any] = {"type": "publish", "channel": channel, "data": data}
        if confirm:
            frame["confirm"] = True
        if key is not None:
            frame["idempotency_key"] = key
        return str((await self._ask(frame))["type"])

    async def request(self, channel: str, data: Any, timeout: float = 5.0) -> Any:
        """Returns the device's answer (MQTT 5)."""
        await self._ready()
        return (await self._ask({"type": "request", "channel": channel, "data": data, "timeout": int(timeout * 1000)}))["data"]

    async def get(self, channel: str) -> Optional[Message]:
        """Returns the last value; None if there is none yet."""
        try:
            return await self._fetch(f"/channels/{urllib.parse.quote(channel, safe='')}")  # type: ignore[no-any-return]
        except Refused as error:
            if error.code == "no_value":
                return None
            raise

    async def history(self, channel: str, limit: Optional[int] = None) -> List[Message]:
        """Returns what the gateway keeps of a channel, oldest first: the newest `limit`."""
        query = f"?limit={limit}" if limit else ""
        said = await self._fetch(f"/channels/{urllib.parse.quote(channel, safe='')}/history{query}")
        return list(said["messages"])

    # --- the connection -----------------------------------------------------------------------------------------------

    def _word(self) -> Optional[str]:
        return self._token() if callable(self._token) else self._token

    async def _fetch(self, path: str) -> Any:
        def fetch() -> Any:
            word = self._word()
            request = urllib.request.Request(self._http + path, headers={"Authorization": f"Bearer {word}"} if word else {})
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                try:
                    frame = json.load(error)
                except ValueError:
                    raise ConnectionError(f"HTTP {error.code} is no answer of the gateway") from None
                raise Refused(frame) from None
            except urllib.error.URLError as error:
                raise ConnectionError(str(error.reason)) from None
        return await asyncio.get_running_loop().run_in_executor(None, fetch)

    async def _ready(self) -> None:
        await self._connected.wait()
        if self._failure:
            raise self._failure

    async def _ask(self, frame: Dict[str, Any]) -> Dict[str, Any]:
        """Sends a frame and waits for the answer with its id. If the connection breaks before, the outcome is unknown."""
        number = frame["id"] = next(self._ids)
        answer: asyncio.Future[Dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        if frame.get("confirm"):
            self._confirming.add(number)
        try:
            await self._socket.send(json.dumps(frame, allow_nan=False))
        except websockets.exceptions.WebSocketException as error:
            self._answers.pop(number, None)
            raise ConnectionError(f"it was not sent: {error}") from None
        except ValueError:
            self._answers.pop(number, None)
            raise
        try:
            return await answer
        finally:
            self._confirming.discard(number)

    async def _send_subscribe(self, channel: str) -> None:
        frame: Dict[str, Any] = {"type": "subscribe", "channel": channel}
        subscription = self._subscriptions[channel]
        subscription.answered = False
        if subscription.cursor:
            frame["cursor"] = subscription.cursor
        elif subscription.since:
            frame["since"] = subscription.since
        await self._ask(frame)

    async def _greet(self) -> None:
        word = self._word()
        if word:
            await self._ask({"type": "hello", "token": word})
        for channel in list(self._subscriptions):
            try:
                await self._send_subscribe(channel)
            except Refused:
                self._subscriptions.pop(channel, None)

    async def _run(self) -> None:
        delay = 0.5
        while True:
            try:
                async with websockets.connect(re.sub("^http", "ws", self._http) + "/ws", max_size=None) as self._socket:  # type: ignore[attr-defined]
                    reader = asyncio.create_task(self._read())
                    try:
                        await self._greet()
                        self._failure = None
                        self._connected.set()
                        delay = 0.5
                        await reader
                    finally:
                        reader.cancel()
                        await asyncio.gather(reader, return_exceptions=True)
            except Refused as error:
                # What waits is told; a token may be good again later.
                self._failure = error
                self._connected.set()
                await asyncio.sleep(0)
                self._lose()
                await asyncio.sleep(random.uniform(delay / 2, delay))
                delay = min(delay * 2, 30)
                continue
            except (OSError, websockets.exceptions.WebSocketException):
                pass
            self._connected.clear()
            self._lose()
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(delay * 2, 30)

    def _lose(self) -> None:
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the connection broke; whether it took effect is unknown"))
        self._answers.clear()

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                await self._take(json.loads(text))
        finally:
            self._lose()  # whatever waits for an answer waits in vain

    async def _take(self, frame: Dict[str, Any]) -> None:
        kind = frame["type"]
        if kind == "message":
            await self._on_message(frame)
        elif kind == "subscribed":
            self._on_subscribed(frame)
        elif kind == "gap":
            for channel, subscription in self._subscriptions.items():
                if subscription.on_gap and _matches(channel, frame["channel"]):
                    subscription.on_gap(frame)  # type: ignore[arg-type]
        elif kind == "upstream" and self._on_upstream:
            self._on_upstream(frame["state"])
        elif kind == "unsubscribed" and "id" not in frame:
            self._subscriptions.pop(frame["channel"], None)
        number = frame.get("id", 0)
        if number in self._confirming and kind in ("published", "accepted"):
            return  # the device's word is to come
        answer = self._answers.pop(number, None)
        if answer and not answer.done():
            if kind == "error":
                answer.set_exception(Refused(frame))
            else:
                answer.set_result(frame)

    def _on_subscribed(self, frame: Dict[str, Any]) -> None:
        subscription = self._subscriptions.get(frame["channel"])
        if not subscription:
            return
        subscription.answered = True
        subscription.snapshot = frame["snapshot"]
        if frame["snapshot"]:
            subscription.pending = frame["cursor"]
        else:
            subscription.cursor = frame["cursor"]

    async def _on_message(self, frame: Dict[str, Any]) -> None:
        for channel, subscription in list(self._subscriptions.items()):
            if not _matches(channel, frame["channel"]):
                continue
            subscription.move(frame["cursor"])
            if not subscription.is_new(frame["channel"], frame["cursor"]):
                continue
            result = subscription.on_message(frame)  # type: ignore[arg-type]
            if inspect.isawaitable(result):
                await result
