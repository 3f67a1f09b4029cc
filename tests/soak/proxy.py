"""A TCP proxy that can be told to cut, delay, stall, half-close, or let a peer vanish without a FIN."""
import asyncio
import contextlib
import socket
import struct

CHUNK = 16384
BUFFER = 32768 # small, so that a peer that stops reading is felt at the other end soon


def reset_on_close(writer):
    sock = writer.get_extra_info("socket")
    if sock:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Pipe:
    """One connection through the proxy: `near` is who connected to it, `far` what it connected to."""

    def __init__(self, proxy, near, far, spy):
        self.proxy, self.near, self.far, self.spy = proxy, near, far, spy
        self.dropped = {"up": False, "down": False}
        self.held = False
        self.gone = asyncio.Event()

    async def copy(self, direction, reader, writer):
        while True:
            data = await reader.read(CHUNK)
            if not data:
                break
            if self.spy:
                self.spy.feed(direction, data)
            if self.proxy.delay:
                await asyncio.sleep(self.proxy.delay * (0.5 + self.proxy.random.random()))
            await self.proxy.flowing.wait()
            if self.held:
                await asyncio.Event().wait()
            if not self.dropped[direction]:
                writer.write(data)
                await writer.drain()
        if self.held: # no FIN: the far side is to know nothing
            await asyncio.Event().wait()
        if not self.dropped[direction]:
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof()

    async def run(self):
        tasks = [asyncio.ensure_future(self.copy("up", self.near[0], self.far[1])),
                 asyncio.ensure_future(self.copy("down", self.far[0], self.near[1]))]
        vanished = asyncio.ensure_future(self.gone.wait())
        try:
            # After one side's FIN the other has a moment, so that half-open connections are real but don't stay.
            done, rest = await asyncio.wait([*tasks, vanished], return_when=asyncio.FIRST_COMPLETED)
            if self.held:
                await asyncio.sleep(self.proxy.hold)
            elif not any(task.exception() for task in done):
                await asyncio.wait(tasks, timeout=self.proxy.linger)
        finally:
            for task in (*tasks, vanished):
                task.cancel()
            await asyncio.gather(*tasks, vanished, return_exceptions=True)
            self.abort()

    def abort(self):
        for _, writer in (self.near, self.far):
            reset_on_close(writer)
            with contextlib.suppress(Exception):
                writer.transport.abort()
        if self.spy:
            self.spy.closed()
            self.spy = None

    def half_close(self, direction):
        """A FIN in one direction only; what comes later in it is thrown away."""
        self.dropped[direction] = True
        writer = self.far[1] if direction == "up" else self.near[1]
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()

    def vanish(self):
        """The near side is reset; the far one hears nothing, and is not read any more, for proxy.hold seconds."""
        self.held = True
        self.gone.set()
        reset_on_close(self.near[1])
        self.near[1].transport.abort()


class Proxy:
    """`dial` connects to what is behind, `make_spy` sees all bytes. Up is towards it."""

    def __init__(self, name, dial, random, make_spy=None, hold=45, linger=5):
        self.name, self.dial, self.random, self.make_spy = name, dial, random, make_spy
        self.hold, self.linger = hold, linger
        self.delay = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.pipes = set()
        self.tasks = set()
        self.slow = 0 # how often it held data back, for clients that can't tell a gap
        self.failures = 0

    async def start(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.bind(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.server = await asyncio.start_server(self.accept, sock=sock, limit=BUFFER)
        return self

    async def accept(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        writer.transport.set_write_buffer_limits(BUFFER)
        pipe = None
        try:
            sock = await self.dial()
            far = await asyncio.open_connection(sock=sock, limit=BUFFER)
            far[1].transport.set_write_buffer_limits(BUFFER)
            pipe = Pipe(self, (reader, writer), far, self.make_spy and self.make_spy())
            self.pipes.add(pipe)
            await pipe.run()
        except (OSError, asyncio.TimeoutError):
            self.failures += 1
        except asyncio.CancelledError:
            pass
        finally:
            self.pipes.discard(pipe)
            self.tasks.discard(task)
            reset_on_close(writer)
            writer.transport.abort()

    async def stall(self, seconds):
        self.slow += 1
        self.flowing.clear()
        await asyncio.sleep(seconds)
        self.flowing.set()

    async def lag(self, delay, seconds):
        self.slow += 1
        self.delay = delay
        await asyncio.sleep(seconds)
        self.delay = 0

    def cut(self):
        for pipe in list(self.pipes):
            if not pipe.held:
                pipe.abort()

    def half_close(self, direction):
        for pipe in list(self.pipes):
            pipe.half_close(direction)

    def vanish(self):
        for pipe in list(self.pipes):
            pipe.vanish()

    def calm(self):
        self.delay = 0
        self.flowing.set()

    async def close(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def connect_local(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setblocking(False)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port)), 10)
    except BaseException:
        sock.close()
        raise
    return sock
