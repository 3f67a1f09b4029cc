"""Small helpers around the stock `websockets` client."""
import asyncio
import inspect
import json

import pytest
import websockets


class Ws:
    """A /ws connection: frames as dicts."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, **frame):
        await self.socket.send(json.dumps(frame))

    async def recv(self, timeout=10):
        return json.loads(await asyncio.wait_for(self.socket.recv(), timeout))

    async def until(self, wanted, timeout=10):
        """The next frame of a type; others in between are an error."""
        frame = await self.recv(timeout)
        assert frame["type"] == wanted, frame
        return frame

    async def quiet(self):
        """Nothing more is on its way: a ping of the protocol comes back as the next frame."""
        await self.send(type="ping", id="quiet")
        assert await self.recv() == {"type": "pong", "id": "quiet"}

    async def subscribe(self, channel, cursor=None, id=1):
        frame = {"type": "subscribe", "id": id, "channel": channel}
        if cursor:
            frame["cursor"] = cursor
        await self.send(**frame)
        answer = await self.until("subscribed")
        assert answer["id"] == id and answer["channel"] == channel
        return answer

    async def publish(self, channel, data, id=3):
        await self.send(type="publish", id=id, channel=channel, data=data)
        return await self.recv()


class connect:
    """async with connect(sluice) as ws: the welcome has been read and checked."""

    def __init__(self, sluice, **kwargs):
        self.inner = websockets.connect(sluice.ws + "/ws", max_size=None, **kwargs)

    async def __aenter__(self):
        ws = Ws(await self.inner.__aenter__())
        ws.welcome = await ws.until("welcome")
        assert set(ws.welcome) == {"type", "session", "cursor"}
        return ws

    async def __aexit__(self, *args):
        return await self.inner.__aexit__(*args)


def dial(url, headers=None, **kwargs):
    """websockets.connect() with request headers, whatever this version calls them."""
    new = "additional_headers" in inspect.signature(websockets.connect.__init__).parameters
    return websockets.connect(url, max_size=None, **({"additional_headers" if new else "extra_headers": headers} if headers else {}), **kwargs)


async def refused(url, headers=None, **kwargs):
    """The HTTP status with which the handshake is refused."""
    with pytest.raises(websockets.InvalidHandshake) as caught:
        async with dial(url, headers, **kwargs):
            pass
    return caught.value.status_code if hasattr(caught.value, "status_code") else caught.value.response.status_code


async def closed(socket, timeout=10):
    """Code and reason with which the other side closes; whatever comes before is skipped."""
    with pytest.raises(websockets.ConnectionClosed) as caught:
        while True:
            await asyncio.wait_for(socket.recv(), timeout)
    return caught.value.rcvd.code, caught.value.rcvd.reason
