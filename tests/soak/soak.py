#!/usr/bin/env python3
"""Soak and chaos: a broker, two gateways and clients of every transport, faults without end, and an oracle that knows every
message. docs/soak.md says what is promised and how it is judged. Exit status 0: no finding.
"""
import argparse
import asyncio
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback

import requests

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import clients as kinds # noqa: E402
import report # noqa: E402
import stock # noqa: E402
from doors import Doors # noqa: E402
from faults import Faults # noqa: E402
from ledger import Ledger # noqa: E402
from link import Link # noqa: E402
from oracle import Findings, Oracle, judge_ingest # noqa: E402
from commands import Lamp, judge_commands # noqa: E402
from responder import Responder # noqa: E402
from silence import silence # noqa: E402
from upward import Observer, Upward # noqa: E402
from watch import Watch # noqa: E402
from windows import windows # noqa: E402
from world import Broker, Gateway, harness # noqa: E402

FAULT_LIMIT = 60  # seconds that one fault may take
CATCH_UP = 30     # seconds within which everybody must have got everything, once nothing is broken
OVERTIME = 240    # seconds after which a run that does not end is ended


class World:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.begin = time.monotonic()
        self.log_file = open(directory / "soak.log", "w")
        self.findings = Findings(self.log)
        self.link, self.no_line, self.base_loss = None, "", 0.005
        self.broker_lock = asyncio.Lock()
        self.gateways, self.clients, self.tasks, self.watches = [], [], [], []
        self.rounds = 0

    def log(self, text):
        line = f"{time.monotonic() - self.begin:8.2f} {text}"
        self.log_file.write(line + "\n")
        self.log_file.flush()
        if not self.options.quiet or "FINDING" in text:
            print(line, flush=True)

    def random(self, name):
        return random.Random(f"{self.options.seed}/{name}")

    async def open(self):
        try:
            self.link = Link(self.options.seed)
            self.link.loss = self.base_loss
        except Exception as error: # no root, no /dev/net/tun, no ip(8): the rest is worth doing all the same
            self.no_line = f"{type(error).__name__}: {error}"
            self.log(f"no lossy line: {self.no_line}")
        self.doors = Doors(self.directory)
        self.broker = Broker(self.directory, [self.link.here] if self.link else [])
        await self.broker.start()
        self.ledger = Ledger(self.broker.port, self.random("ledger"))
        make = lambda name, **settings: Gateway(name, self.directory, self.options.binary, self.broker, self.link, # noqa: E731
                                                self.random(name), self.findings, self.log, doors=self.doors, **settings)
        self.steady = make("steady", expiry="0s", qos=1, slow="gap", disk=True)
        self.mortal = make("mortal", expiry="1h", qos=2, slow="close", lossy=True)
        self.mortal.truth.kept = True
        for gateway in (self.steady, self.mortal):
            await gateway.open()
            self.gateways.append(gateway)
            self.watches.append(Watch(gateway, self.findings, harness.SANITIZED or "san/" in self.options.binary))
            self.make_clients(gateway)
        self.observer, self.responder, self.lamp = Observer(self.broker.port), Responder(self.broker.port), Lamp(self.broker.port)
        self.upwards = [Upward(gateway, self.observer, self.findings, collections.Counter()) for gateway in self.gateways]
        self.faults = Faults(self, self.random("faults"))

    def make_clients(self, gateway):
        everything = ["soak/#"]
        for name, kind, proxy, filters, judged in (
                ("ws", kinds.WsClient, gateway.clients, everything, "all"),
                ("ws, three filters", kinds.WsClient, gateway.clients, ["soak/a/#", "soak/b/#", "soak/s/#"], "all"),
                ("ws, overlapping", kinds.OverlappingClient, gateway.clients, ["soak/a/#", "soak/+/0"], "all"),
                ("sse", kinds.SseClient, gateway.clients, everything, "all"),
                ("poll", kinds.PollClient, gateway.clients, everything, "all"),
                ("mover", kinds.Mover, gateway.clients, everything, "all"),
                ("raw", kinds.RawClient, gateway.clients, ["soak/a/#"], "raw"),
                ("ws, paced", kinds.PacedClient, gateway.clients, everything, "latest"),
                ("ws, lossy line", kinds.WsClient, gateway.line, everything, "all"),
                ("sse, lossy line", kinds.SseClient, gateway.line, ["soak/b/#"], "all"),
                ("poll, lossy line", kinds.PollClient, gateway.line, ["soak/s/#"], "all"),
                ("mover, lossy line", kinds.Mover, gateway.line, ["soak/a/#"], "all"),
                ("sse, TLS and token", kinds.SseClient, gateway.secure, everything, "all"),
                ("mover, TLS and token", kinds.Mover, gateway.secure, everything, "all")):
            name = f"{gateway.name}: {name}"
            self.clients.append(kind(name, proxy, Oracle(name, gateway.truth, self.findings, judged), self.random(name), filters,
                                     self.doors if proxy is gateway.secure else None))
        for name, kind, proxy, settings in (
                ("Socket.IO", stock.SocketIoClient, gateway.clients, {"transports": "websocket"}),
                ("Socket.IO, polling", stock.SocketIoClient, gateway.clients, {"transports": "polling"}),
                ("Socket.IO, upgrade", stock.SocketIoClient, gateway.clients, {"transports": "polling+websocket"}),
                ("Socket.IO, declared, lossy line", stock.SocketIoClient, gateway.line,
                 {"transports": "polling+websocket", "declared": True}),
                ("MQTT", stock.MqttClient, gateway.clients, {}),
                ("MQTT, lossy line", stock.MqttClient, gateway.line, {})):
            name = f"{gateway.name}: {name}"
            self.clients.append(kind(name, proxy, Oracle(name, gateway.truth, self.findings, "all"), self.random(name), everything,
                                     **settings))

    async def start_broker(self):
        self.ledger.broker_lives.append(time.monotonic())
        await self.broker.start()

    async def watch(self):
        while True:
            for gateway, watch in zip(self.gateways, self.watches):
                gateway.check_alive()
                watch.sample(self.begin)
            await asyncio.sleep(min(5, max(0.5, self.options.minutes / 12)))

    async def ready(self, gateway):
        with contextlib.suppress(requests.RequestException):
            answer = await asyncio.to_thread(requests.get, f"http://127.0.0.1:{gateway.port}/readyz", timeout=5)
            return answer.status_code == 200
        return False

    async def wait(self, condition, seconds):
        end = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > end:
                return False
            await asyncio.sleep(0.05)
        return True

    async def everybody_ready(self):
        return all([await self.ready(gateway) for gateway in self.gateways])

    async def calm(self):
        """Nothing is broken any more: everybody must get all there is, and soon."""
        for gateway in self.gateways:
            for proxy in gateway.proxies:
                proxy.calm()
        self.ledger.paused = True
        try:
            await self.checkpoint()
        finally:
            self.ledger.paused = False
        await asyncio.gather(*(silence(gateway, self.broker, self.findings) for gateway in self.gateways),
                             *(windows(upward.gateway, self.findings, upward.counts) for upward in self.upwards))
        for gateway, watch in zip(self.gateways, self.watches):
            watch.sample(self.begin, calm=True)
            gateway.check_log()
        for client in self.clients:
            (client.oracle.raw_sweep if client.oracle.kind == "raw" else client.oracle.sweep)(everything=True)
        for gateway in self.gateways:
            judge_ingest(gateway.truth, self.ledger, self.findings, gateway is self.mortal)
        for upward in self.upwards:
            upward.judge()

    async def checkpoint(self):
        for _ in range(4):
            if not await self.wait(self.everybody_ready, CATCH_UP):
                self.findings.add("stuck", "a gateway is not ready although nothing is broken")
                return
            links = [gateway.truth.opened for gateway in self.gateways]
            marks = await asyncio.wait_for(self.ledger.mark(), 60)

            async def reached():
                return all(client.has(marks) for client in self.clients)
            if await self.wait(reached, CATCH_UP):
                return
            if links == [gateway.truth.opened for gateway in self.gateways]:
                break # else a connection to the broker broke late, and the marks may have gone with it
            self.log("a connection to the broker broke late: once more")
        for client in self.clients:
            if not client.has(marks):
                have = {channel: last.n for channel, last in client.oracle.last.items()}
                self.findings.add("stuck", f"{client.name}: has {have} of {marks} after {CATCH_UP} s without a fault")

    async def round(self):
        self.rounds += 1
        drawn = self.faults.draw(random.Random(f"{self.options.seed}/round {self.rounds}").randint(3, 5))
        tasks = [asyncio.ensure_future(self.faults.run(*fault)) for fault in drawn]
        done, late = await asyncio.wait(tasks, timeout=FAULT_LIMIT)
        for task in late:
            task.cancel()
        for task, fault in zip(tasks, drawn):
            if task in late:
                self.findings.add("the program", f"the fault {fault[0]} did not end")
            elif task.exception():
                self.findings.add("the program", f"the fault {fault[0]} failed: {task.exception()!r}")
        await self.calm()
        self.log(f"round {self.rounds}: {self.ledger.counts['published']} published, "
                 f"{sum(c.oracle.counts['messages'] for c in self.clients)} delivered, "
                 + ", ".join(f"{g.name} {(g.usage() or (0, 0))[0] >> 10} KiB" for g in self.gateways))

    async def run(self):
        await self.open()
        await self.ledger.ready()
        self.tasks = [asyncio.ensure_future(self.ledger.run()), asyncio.ensure_future(self.watch()),
                      asyncio.ensure_future(self.observer.run()), asyncio.ensure_future(self.responder.run()),
                      asyncio.ensure_future(self.lamp.run()),
                      *(asyncio.ensure_future(upward.run()) for upward in self.upwards)]
        for client in self.clients:
            client.start()
        await self.calm()
        while time.monotonic() - self.begin < self.options.minutes * 60 - 15:
            await self.round()
            for task in [*self.tasks, *(client.task for client in self.clients)]:
                if task.done(): # none of them ends by itself
                    self.findings.add("the program", f"a part ended: {task}")
                    return

    async def close(self):
        """Clients go first, then gateways, which must end with 0, then the broker."""
        await asyncio.gather(*(client.stop() for client in self.clients if client.task), return_exceptions=True)
        for gateway in self.gateways:
            await gateway.term()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        if hasattr(self, "ledger"):
            await asyncio.to_thread(self.ledger.drop_client)
        if hasattr(self, "observer"):
            await asyncio.to_thread(self.observer.drop)
            await asyncio.to_thread(self.responder.drop)
            await asyncio.to_thread(self.lamp.drop)
        for gateway in self.gateways:
            for proxy in gateway.proxies:
                await proxy.close()

    def end_processes(self):
        for gateway in [getattr(self, "steady", None), getattr(self, "mortal", None)]:
            if gateway and gateway.process:
                gateway.process.end()
        if hasattr(self, "broker"):
            self.broker.end()
        if self.link:
            self.link.close()

    def result(self):
        for watch in self.watches:
            watch.judge()
        for upward in getattr(self, "upwards", []):
            upward.judge_requests()
            judge_commands(upward)
        return {
            "seed": self.options.seed, "minutes": (time.monotonic() - self.begin) / 60, "rounds": self.rounds,
            "begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time.time() - time.monotonic() + self.begin)),
            "version": report.version([self.options.binary, "--version"]),
            "faults": dict(self.faults.counts) if hasattr(self, "faults") else {},
            "published": {"published": 0, "acknowledged": 0, **(self.ledger.counts if hasattr(self, "ledger") else {})},
            "clients": {client.name: dict(client.oracle.counts) for client in self.clients},
            "upward": {upward.gateway.name: dict(upward.counts) for upward in getattr(self, "upwards", [])},
            "line": {"carried": self.link.carried, "lost": self.link.lost} if self.link else None, "no_line": self.no_line,
            "gateways": [{"name": w.gateway.name, "lives": w.gateway.truth.life, "rss": max((s[2] for s in w.samples), default=0),
                          "fds": max((s[3] for s in w.samples), default=0), "growth": w.growth(), "samples": w.samples}
                         for w in self.watches],
            "finding_counts": dict(self.findings.counts), "findings": self.findings.texts,
        }


def options_of(argv):
    parser = argparse.ArgumentParser(description="Soak and chaos test; see docs/soak.md")
    parser.add_argument("minutes", nargs="?", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="the same faults again")
    parser.add_argument("--binary", default=harness.BINARY)
    parser.add_argument("--report", type=pathlib.Path, default=harness.ROOT / "build/soak", help="directory of the report")
    parser.add_argument("--quiet", action="store_true", help="print findings and the verdict only")
    return parser.parse_args(argv)


def finish(world):
    """The report, the logs beside it, and the verdict."""
    options, result = world.options, world.result()
    report.write(options.report, result, world.watches)
    for path in world.directory.glob("*.log"):
        shutil.copy(path, options.report)
    shutil.rmtree(world.directory, ignore_errors=True)
    print(f"soak: {result['minutes']:.1f} minutes, seed {options.seed}, {result['rounds']} rounds, "
          f"{sum(result['faults'].values())} faults, {sum(result['finding_counts'].values())} findings "
          f"{result['finding_counts'] or ''}; {options.report}/report.md", flush=True)


def last_resort(world, seconds):
    """A part hangs for good: says so and ends. The kernel ends the children with us (world.guarded)."""
    world.findings.add("the program", f"did not end within {seconds:.0f} s")
    with contextlib.suppress(Exception):
        finish(world)
    os._exit(3)


async def all_of(world):
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(64))
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await world.run()
    except asyncio.CancelledError:
        world.findings.add("the program", "interrupted")
    except Exception as error:
        world.findings.add("the program", f"{error!r}")
        traceback.print_exc()
    try:
        await asyncio.wait_for(world.close(), 90)
    except Exception as error:
        world.findings.add("the program", f"closing: {error!r}")


def main(argv=None):
    options = options_of(argv)
    shutil.rmtree(options.report, ignore_errors=True)
    options.report.mkdir(parents=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="sluice-soak-"))
    world = World(options, directory)
    world.log(f"soak: {options.minutes:g} minutes, seed {options.seed}")
    limit = options.minutes * 60 + OVERTIME
    timer = threading.Timer(limit, last_resort, (world, limit))
    timer.daemon = True
    timer.start()
    try:
        asyncio.run(all_of(world))
    finally:
        world.end_processes()
    finish(world)
    sys.stdout.flush()
    os._exit(1 if world.findings.counts else 0) # threads that still wait for a socket are not worth waiting for


if __name__ == "__main__":
    main()
