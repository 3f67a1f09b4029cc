"""The faults, and in which order they come: a bag of all kinds, shuffled by the seed, and drawn from until it is empty."""
import asyncio
import collections

import hostile


class Faults:
    def __init__(self, world, random):
        self.world, self.random = world, random
        self.counts = collections.Counter()
        self.bag = []
        self.kinds = {name[6:].replace("__", "."): getattr(self, name) for name in dir(self) if name.startswith("fault_")}
        if not world.link:
            self.kinds = {name: kind for name, kind in self.kinds.items() if not name.startswith("line.")}

    def draw(self, count):
        """(name, seconds from now, number for its own random) of the next round."""
        drawn = []
        for _ in range(count):
            if not self.bag:
                self.bag = sorted(self.kinds)
                self.random.shuffle(self.bag)
            drawn.append((self.bag.pop(), self.random.uniform(0, 6), self.random.getrandbits(32)))
        return sorted(drawn, key=lambda fault: fault[1])

    async def run(self, name, delay, number):
        await asyncio.sleep(delay)
        self.world.log(f"fault {name}")
        self.counts[name] += 1
        random = type(self.random)(number)
        await self.kinds[name](random)

    def gateway(self, random):
        return random.choice(self.world.gateways)

    def proxy(self, random):
        gateway = self.gateway(random)
        return random.choice((gateway.clients, gateway.line, gateway.secure))

    # --- the broker ---

    async def fault_broker__killed(self, random):
        async with self.world.broker_lock:
            self.world.broker.end()
            await asyncio.sleep(random.uniform(0, 3))
            await self.world.start_broker()

    async def fault_broker__frozen_briefly(self, random):
        await self.freeze_broker(random.uniform(0.5, 3))

    async def fault_broker__frozen_long(self, random):
        await self.freeze_broker(random.uniform(9, 14)) # beyond the keep-alive: the gateway must give it up

    async def freeze_broker(self, seconds):
        async with self.world.broker_lock:
            self.world.broker.process.signal(19)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.world.broker.process.signal(18)

    # --- between the broker and a gateway ---

    async def fault_upstream__cut(self, random):
        upstream = self.gateway(random).upstream
        for _ in range(random.randint(1, 4)):
            upstream.cut()
            await asyncio.sleep(random.uniform(0.1, 1.5))

    async def fault_upstream__stalled(self, random):
        await self.gateway(random).upstream.stall(random.uniform(1, 9))

    async def fault_upstream__delayed(self, random):
        await self.gateway(random).upstream.lag(random.uniform(0.02, 0.3), random.uniform(2, 6))

    async def fault_upstream__half_closed_up(self, random):
        self.gateway(random).upstream.half_close("up")

    async def fault_upstream__half_closed_down(self, random):
        self.gateway(random).upstream.half_close("down")

    # --- between a gateway and its clients ---

    async def fault_clients__cut(self, random):
        proxy = self.proxy(random)
        for _ in range(random.randint(1, 5)):
            proxy.cut()
            await asyncio.sleep(random.uniform(0.05, 1))

    async def fault_clients__stalled(self, random):
        await asyncio.gather(self.proxy(random).stall(random.uniform(1, 10)), self.burst(random))

    async def fault_clients__delayed(self, random):
        await self.proxy(random).lag(random.uniform(0.02, 0.5), random.uniform(2, 6))

    async def fault_clients__half_closed_up(self, random):
        self.proxy(random).half_close("up")

    async def fault_clients__half_closed_down(self, random):
        self.proxy(random).half_close("down")

    async def fault_clients__vanished(self, random):
        self.proxy(random).vanish()

    # --- clients ---

    async def fault_client__frozen(self, random):
        """Some stop reading, while more is published than queues and socket buffers hold."""
        chosen = random.sample(self.world.clients, 4)
        for client in chosen:
            client.frozen.set()
        try:
            await asyncio.gather(asyncio.sleep(random.uniform(2, 8)), self.burst(random, 700))
        finally:
            for client in chosen:
                client.frozen.clear()

    async def fault_publisher__burst(self, random):
        await self.burst(random, 800)

    async def burst(self, random, count=400):
        for gateway in self.world.gateways:
            for proxy in gateway.proxies:
                proxy.slow += 1
        await self.world.ledger.burst(count, random.choice((0, 500, 4000)))

    # --- a line that loses packets ---

    async def fault_line__loss(self, random):
        await self.lose(random.uniform(0.05, 0.25), random.uniform(3, 8))

    async def fault_line__pulled(self, random):
        await self.lose(1, random.uniform(1, 6))

    async def lose(self, share, seconds):
        before, self.world.link.loss = self.world.link.loss, share
        for gateway in self.world.gateways:
            gateway.line.slow += 1
        await asyncio.sleep(seconds)
        self.world.link.loss = min(before, self.world.base_loss)

    # --- hostile clients ---

    async def fault_flood__garbage(self, random):
        await self.flood("garbage", random)

    async def fault_flood__frames(self, random):
        await self.flood("frames", random)

    async def fault_flood__publishes(self, random):
        await self.flood("publishes", random)

    async def fault_flood__connections(self, random):
        await self.flood("connections", random)

    async def fault_flood__deaf(self, random):
        await self.flood("deaf", random)

    async def flood(self, kind, random):
        await asyncio.wait_for(hostile.KINDS[kind](self.gateway(random).port, random), 30)

    # --- the gateways themselves ---

    async def fault_reload__valid(self, random):
        gateway = self.gateway(random)
        async with gateway.lock:
            await gateway.reload(broken=False)

    async def fault_reload__invalid(self, random):
        gateway = self.gateway(random)
        async with gateway.lock:
            await gateway.reload(broken=True)

    async def fault_gateway__killed(self, random):
        gateway = self.world.mortal
        async with gateway.lock:
            await gateway.kill()
            await asyncio.sleep(random.uniform(0, 2))
            await gateway.start()

    async def fault_gateway__stopped(self, random):
        gateway = self.world.mortal
        async with gateway.lock:
            await gateway.term()
            await gateway.start()
