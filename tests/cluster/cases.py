"""The faults of a cluster, each while messages flow and clients hop. A case returns what the judge says, and more to look at."""
import pathlib
import random
import signal
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "tests/cluster")]

import cluster
from harness import Broker, wait_until
from hoppers import Field


class World:
    """Broker, engine and nodes; `with` leaves nothing behind."""

    def __init__(self, directory, nodes=3, append=False, **options):
        self.directory = pathlib.Path(directory)
        self.processes = []
        self.count, self.append, self.options = nodes, append, options

    def __enter__(self):
        try:
            self.broker = self.keep(Broker(self.directory, config=cluster.BROKER))
            self.redis = self.keep(cluster.Redis(self.directory / "redis", append=self.append))
            self.nodes = [self.keep(cluster.Node(self.directory, name, self.broker.port, self.redis.port, ready=False, **self.options))
                          for name in "abcdefgh"[:self.count]]
            for node in self.nodes:
                node.wait_ready()
            self.leader()
        except BaseException:
            self.__exit__()
            raise
        return self

    def keep(self, process):
        self.processes.append(process)
        return process

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def leader(self):
        return cluster.leader(self.nodes)

    def others(self):
        first = self.leader()
        return [node for node in self.nodes if node is not first]

    def logs(self):
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.directory.glob("*.log")))

    def total(self, name):
        return sum(node.metric(name) for node in self.nodes if node.child.poll() is None)


def flow(seconds):
    """Lets messages flow: a case is about what happens among them."""
    time.sleep(seconds)


def nothing(world, _):
    flow(3)


def kill_leader(world, _):
    """kill -9 of the leader under load; it comes back later."""
    flow(1.5)
    dead = world.leader()
    dead.end()
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not dead), 10, "another leader")
    flow(1.5)
    dead.again()


def kill_other(world, rng):
    """kill -9 of a node that only serves; its clients go on elsewhere, by another transport."""
    flow(1)
    dead = rng.choice(world.others())
    dead.end()
    flow(1.5)
    dead.again()
    flow(1)


def rolling(world, _):
    """SIGTERM and a new start of each node in turn."""
    for node in world.nodes:
        flow(0.7)
        node.stop(20)
        node.again()
    flow(0.7)


def pause_leader(world, _):
    """SIGSTOP of the leader for longer than its lease, then SIGCONT: it must see that it leads no more."""
    flow(1)
    paused = world.leader()
    paused.signal(signal.SIGSTOP)
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not paused), 10, "another leader")
    flow(1)
    paused.signal(signal.SIGCONT)
    wait_until(lambda: not paused.leads(), 5, "the old leader to know")
    flow(1)


def kill_engine(world, _):
    """kill -9 of the engine; it comes back, empty unless it writes to the disk."""
    flow(1)
    world.redis.end()
    flow(1)
    world.redis.start()
    world.leader()
    flow(1.5)


def flush_engine(world, _):
    """Somebody empties the engine by hand."""
    flow(1)
    world.redis.ask("FLUSHALL")
    flow(1)
    world.leader()
    flow(1.5)


def kill_both(world, _):
    """Leader and engine at once: what only they had is lost, and told."""
    flow(1)
    dead = world.leader()
    world.redis.end()
    dead.end()
    world.redis.start()
    wait_until(lambda: any(node.leads() for node in world.nodes if node is not dead), 15, "another leader")
    flow(1)
    dead.again()


CASES = {
    "C1": nothing,
    "C2": kill_leader,
    "C3": kill_other,
    "C4": rolling,
    "C5": pause_leader,
    "C7": kill_engine,
    "C9": kill_both,
    "C15": flush_engine,
}


def run(name, directory, seed=0, append=False, rate=300, clients=6, nodes=3):
    """Returns the judge's report of one case, with `log` for when it is bad."""
    with World(directory, nodes, append) as world:
        field = Field(world.broker.port, world.nodes, clients=clients, rate=rate)
        try:
            CASES[name](world, random.Random(seed))
        finally:
            report = field.finish()
        for metric in ("mended", "fenced", "lost", "redelivered", "takeovers"):
            report[metric] = world.total(f"sluice_engine_{metric}_total")
        report["log"] = world.logs()
    return report
