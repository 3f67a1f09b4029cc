#!/usr/bin/env python3
"""The WebSocket client that every tutorial shows, with only its address changed: sends one JSON text, then reads JSON
texts for ever."""
import asyncio
import json
import sys

import websockets

URI = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/channels/devices/lamp_kitchen"


async def listen():
    async with websockets.connect(URI) as websocket:
        await websocket.send(json.dumps({"state": "ON"}))
        while True:
            data = json.loads(await websocket.recv())
            print("received:", data, flush=True)


asyncio.run(listen())
