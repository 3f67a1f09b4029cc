"""The client without asyncio: the same one, on a thread of its own."""
from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any, Callable, Coroutine, Iterator, List, Optional, TypeVar

from .client import WAITING, Message, OnGap, OnMessage, Sluice, Token

T = TypeVar("T")


class SyncSluice:
    """`with SyncSluice("http://localhost:8080") as sluice: …`. Handlers are called on the client's thread."""

    def __init__(self, url: str, token: Optional[Token] = None, on_upstream: Optional[Callable[[str], None]] = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sluice", daemon=True)
        self._thread.start()

        async def make() -> Sluice:
            return Sluice(url, token, on_upstream)  # on its own loop

        try:
            self._client = self._wait(make())
            self._wait(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> SyncSluice:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._thread.is_alive():
            self._wait(self._client.__aexit__())
            self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, T], timeout: Optional[float] = None) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def subscribe(self, channel: str, on_message: OnMessage, on_gap: Optional[OnGap] = None, since: Optional[str] = None) -> None:
        self._wait(self._client.subscribe(channel, on_message, on_gap, since))

    def unsubscribe(self, channel: str) -> None:
        self._wait(self._client.unsubscribe(channel))

    def publish(self, channel: str, data: Any, confirm: bool = False, key: Optional[str] = None) -> str:
        return self._wait(self._client.publish(channel, data, confirm, key))

    def request(self, channel: str, data: Any, timeout: float = 5.0) -> Any:
        return self._wait(self._client.request(channel, data, timeout))

    def get(self, channel: str) -> Optional[Message]:
        return self._wait(self._client.get(channel))

    def history(self, channel: str, limit: Optional[int] = None) -> List[Message]:
        return self._wait(self._client.history(channel, limit))

    def stream(self, channel: str) -> Iterator[Message]:
        """`for message in sluice.stream("rooms/+/t")`: a subscription that ends with the loop."""
        waiting: queue.Queue[Message] = queue.Queue(WAITING)
        full = threading.Event()

        def take(message: Message) -> None:
            if waiting.full():
                full.set()
            if not full.is_set():
                waiting.put_nowait(message)

        self.subscribe(channel, take)
        try:
            while not full.is_set() or not waiting.empty():
                yield waiting.get()
            raise OverflowError(f"more than {WAITING} messages of {channel} wait for the loop")
        finally:
            self.unsubscribe(channel)
