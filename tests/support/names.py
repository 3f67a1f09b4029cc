"""A name server on loopback, and programs that ask it: in a mount namespace of their own /etc/resolv.conf names it. Needs root."""
import os
import pathlib
import random
import socket
import struct
import threading
import time

from conftest import yaml
from harness import BINARY

NAME = "broker.test"
ROUTES = "  - { topic: 'lamps/#', publish: true }\n"
A, AAAA = 1, 28
SERVFAIL, NXDOMAIN = 2, 3


class NameServer:
    """Answers by `names`, from a name to its addresses (RFC 1035); a name that is not there does not exist. `stalled`: it hears, and says
    nothing. `losing`: so many questions more get no answer."""

    def __init__(self, names=None):
        self.names = dict(names or {})
        self.stalled = False
        self.losing = 0
        self.code = 0
        self.asked = []
        self.lock = threading.Lock()
        self.address = f"127.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        self.start()

    def start(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((self.address, 53))
        self.thread = threading.Thread(target=self.run, args=(self.socket,), daemon=True)
        self.thread.start()

    def run(self, sock):
        while True:
            question, sender = sock.recvfrom(4096)
            if not question:  # end() sends that
                return
            answer = self.answer(question)
            if answer:
                sock.sendto(answer, sender)

    def answer(self, question):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack_from(">H", question, at + 1)[0]
        name = ".".join(labels).lower()
        with self.lock:
            self.asked.append((name, kind))
            if self.losing:
                self.losing -= 1
                return None
        if self.stalled:
            return None
        family = socket.AF_INET if kind == A else socket.AF_INET6
        found = [a for a in self.names.get(name, ()) if kind in (A, AAAA) and (":" in a) == (kind == AAAA)]
        code = self.code or (0 if name in self.names else NXDOMAIN)
        records = b"" if code else b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 0, 4 if kind == A else 16) + socket.inet_pton(family, a)
                                            for a in found)
        flags = 0x8180 | code
        return question[:2] + struct.pack(">HHHHH", flags, 1, 0 if code else len(found), 0, 0) + question[12:at + 5] + records

    def end(self):
        """Nothing listens there any more: whoever asks is refused at once, as by a name server that is down."""
        if not self.socket:
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", (self.address, 53))
        self.thread.join(5)
        self.socket.close()
        self.socket = None

    def program(self, directory, program=BINARY):
        """The path of a program that runs the given one, in the same process, and asks this name server."""
        directory = pathlib.Path(directory)
        (directory / "resolv.conf").write_text(f"nameserver {self.address}\nsearch .\n")
        (directory / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        mounts = [f"mount --bind {directory}/{name} /etc/{name}" for name in ("resolv.conf", "nsswitch.conf") if os.path.exists(f"/etc/{name}")]
        script = directory / "named"
        script.write_text("#!/bin/sh\nexec unshare --mount --propagation private sh -ec '" + "; ".join(mounts) +
                          f"; exec {program} \"$@\"' sh \"$@\"\n")
        script.chmod(0o755)
        return str(script)


class Dead:
    """Takes connections in the sense that nothing comes back: a listener whose queue is full, so that the kernel drops what else arrives."""

    def __init__(self, address, port):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((address, port))
        self.socket.listen(0)
        self.fillers = [socket.socket() for _ in range(4)]
        for filler in self.fillers:
            filler.setblocking(False)
            filler.connect_ex((address, port))

    def end(self):
        for sock in (*self.fillers, self.socket):
            sock.close()


class Named:
    """A world with a name server, in which the broker's name is `broker.test`."""

    def __init__(self, world):
        self.world = world
        self.server = world.keep(NameServer({NAME: ["127.0.0.1"]}))

    def gateway(self, port, ready=True, broker="", **kwargs):
        text = yaml(port, routes=ROUTES, broker=broker, **kwargs).replace("//127.0.0.1:", f"//{NAME}:")
        return self.world.sluice(text, ready=ready, binary=self.server.program(self.world.directory))


def seconds(call):
    begin = time.monotonic()
    call()
    return time.monotonic() - begin
