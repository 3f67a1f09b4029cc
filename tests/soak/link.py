"""A network namespace with a lossy line to it, without tc netem, which many kernels lack: two TUN devices, one here and one in
a namespace of its own, and a thread that carries packets between them and loses some. The namespace has no name: it belongs to
a thread, and it and the devices are gone with the process, however that ends. Needs root and /dev/net/tun.
"""
import asyncio
import concurrent.futures
import ctypes
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000


def open_tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def configure(name, address):
    for command in (["addr", "add", address, "dev", name], ["link", "set", name, "up"]):
        subprocess.run(["ip", *command], check=True, capture_output=True, timeout=10)


class Link:
    """`loss` is the share of packets lost, in each direction; 1 is a cable that was pulled."""

    def __init__(self, seed):
        self.random = random.Random(f"{seed}/link")
        self.loss = 0.0
        self.carried = self.lost = 0
        number = os.getpid() % 16384
        base = f"198.{18 + number // 8192}.{number % 8192 // 64 * 2 % 256}.{number % 64 * 4}"
        head, tail = base.rsplit(".", 1)
        self.here, self.there = f"{head}.{int(tail) + 1}", f"{head}.{int(tail) + 2}"
        name = f"soak{os.getpid() % 10**9}"
        self.fds = []
        self.inside = concurrent.futures.ThreadPoolExecutor(1)  # the one thread that lives in the namespace
        try:
            self.fds.append(open_tun(name))
            configure(name, f"{self.here}/30")
            self.fds.append(self.inside.submit(self.enter).result(20))
        except Exception:
            self.close()
            raise
        self.stopping = False
        self.thread = threading.Thread(target=self.carry, daemon=True)
        self.thread.start()

    def enter(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        fd = open_tun("soak0")
        configure("soak0", f"{self.there}/30")
        return fd

    def carry(self):
        poll = select.poll()
        for fd in self.fds:
            poll.register(fd, select.POLLIN)
        other = {self.fds[0]: self.fds[1], self.fds[1]: self.fds[0]}
        while not self.stopping:
            for fd, _ in poll.poll(200):
                for _ in range(64):
                    try:
                        packet = os.read(fd, 65536)
                    except BlockingIOError:
                        break
                    if self.random.random() < self.loss:
                        self.lost += 1
                        continue
                    self.carried += 1
                    try:
                        os.write(other[fd], packet)
                    except BlockingIOError:
                        self.lost += 1

    async def connect(self, port):
        """A socket of the namespace, connected over the line to a port of ours."""
        sock = await asyncio.wrap_future(self.inside.submit(socket.socket))
        sock.setblocking(False)
        try:
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(sock, (self.here, port)), 10)
        except BaseException:
            sock.close()
            raise
        return sock

    def close(self):
        self.stopping = True
        thread = getattr(self, "thread", None)
        if thread:
            thread.join(5)
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        self.inside.shutdown(wait=False)
