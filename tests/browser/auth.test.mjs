// Locked doors, seen from the client: tokens that expire, are refused, or lose a right, over every transport.
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { locks } from './tokens.mjs';
import { freePort, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 20000, bytes: 64MiB }
    publish: {}
  - topic: other/#
`;
const ROLES = `  admin: { subscribe: "#", publish: "#" }
  viewer: { subscribe: "n/#" }
`;
const TRANSPORTS = ['websocket', 'sse', 'longpoll'];
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

async function start(t, more) {
  const world = new World(t);
  await world.broker();
  world.locks = locks(world, ROLES, more);
  world.gateway = await world.sluice(ROUTES, world.locks.yaml());
  world.client = (options) => {
    const client = new Sluice(options.url || world.gateway.url, { WebSocket, ...options });
    client.errors = [];
    client.on('error', (error) => client.errors.push(error));
    world.keep(() => client.close());
    return client;
  };
  return world;
}

/** The lines in which browsers, proxies and logs see addresses. */
async function spy(world) {
  const port = await freePort();
  const lines = [];
  const sockets = new Set();
  const server = net.createServer((from) => {
    const to = net.connect(world.gateway.port, '127.0.0.1');
    for (const [one, other] of [[from, to], [to, from]]) {
      sockets.add(one);
      one.on('error', () => {}).on('close', () => other.destroy());
    }
    from.on('data', (data) => lines.push(...data.toString('latin1').split('\r\n').filter((line) => / HTTP\/1\.1$/.test(line))));
    from.pipe(to).pipe(from);
  }).listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  world.keep(() => (sockets.forEach((socket) => socket.destroy()), server.close()));
  return { url: `http://127.0.0.1:${port}`, lines };
}

for (const transport of TRANSPORTS) {
  test(`${transport}: signs in with a token and with an API key, neither in an address`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', [1]);
    const { url, lines } = await spy(world);
    const token = world.locks.jwt({ sub: 'alice', roles: ['admin'] });
    for (const [secret, subject] of [[token, 'alice'], [world.locks.key, 'kiosk']]) {
      const client = world.client({ url, token: secret, transports: [transport] });
      const got = [], who = [];
      client.on('identity', (identity) => who.push(identity));
      client.subscribe('n/+', (m) => got.push(m.data));
      await until(() => got.length, 'the last value');
      if (transport === 'websocket') {
        assert.equal(who[0].subject, subject);
        assert.ok(subject === 'kiosk' ? who[0].expires === null : Math.abs(who[0].expires - Date.now() - 3_600_000) < 60_000);
      }
      const sent = client.publish('n/b', 1);
      if (subject === 'alice') assert.equal(await sent, 'published');
      else await assert.rejects(sent, { code: 'forbidden' });
      assert.deepEqual(client.errors, []);
      client.close();
    }
    assert.ok(lines.length >= 2);
    assert.deepEqual(lines.filter((line) => line.includes(token.slice(-20)) || line.includes(world.locks.key)), []);
  });

  test(`${transport}: the token function is asked again before and after a token expires, and nothing is lost`, async (t) => {
    const world = await start(t);
    let asked = 0;
    const client = world.client({
      transports: [transport],
      token: async () => (asked++, world.locks.jwt({ sub: 'alice', roles: ['admin'] }, 6)),
    });
    const got = [], states = [];
    let ready = false;
    client.on('state', (event) => states.push(event.state));
    client.subscribe('n/a', (m) => (m.data ? got.push(m.data) : (ready = true)));
    await until(async () => (await world.publish('n/a', [0]), ready), 'the subscription');
    let sent = 0;
    await until(async () => {
      await world.publish('n/a', range(sent + 1, sent + 50));
      sent += 50;
      return asked >= 4;
    }, 'three renewals');
    await until(() => got.at(-1) === sent, 'the last message');
    assert.deepEqual(got, range(1, sent));
    assert.deepEqual(client.errors, []);
    assert.ok(!states.includes('unauthorized'));
    if (transport === 'websocket') assert.equal(states.filter((state) => state === 'live').length, 1); // one connection all the time
  });

  test(`${transport}: a token that is refused is asked for once more, then slowly`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', [1]);
    let asked = 0;
    const { url, lines } = await spy(world);
    const client = world.client({ url, transports: [transport], token: () => (asked++, world.locks.jwt({ sub: 'alice', roles: ['admin'] }, -60)) });
    const got = [];
    client.subscribe('n/a', (m) => got.push(m.data));
    await until(() => client.state === 'unauthorized', 'the client to say so');
    assert.deepEqual([asked, client.errors.map((error) => error.code), got], [2, ['unauthorized'], []]);
    assert.ok(lines.length <= 4, lines.join('\n'));
    await assert.rejects(client.publish('n/a', 2), { code: 'unauthorized' });
    client.setToken(world.locks.jwt({ sub: 'alice', roles: ['admin'] }));
    await until(() => got.length, 'the value after signing in');
    assert.equal(client.state, 'live');
    assert.equal(await client.publish('n/a', 2), 'published');
    client.setToken(); // signs out
    await until(() => client.state === 'unauthorized', 'the end');
  });

  test(`${transport}: what is not allowed, and what is taken away, is told to that subscription; the others go on`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', [1]);
    const client = world.client({ transports: [transport], token: world.locks.key });
    const got = [], told = [], wide = [];
    const on = (channel, list) => client.subscribe(channel, (m) => list.push(m.channel + m.data), { error: (e) => told.push([channel, e.code, e.channel]) });
    on('other/#', []);
    on('n/#', wide);
    on('n/a', got);
    await until(() => told.length && got.length && wide.length, 'a refusal, and values');
    assert.deepEqual(told, [['other/#', 'forbidden', 'other/#']]);
    world.gateway.reload(world.locks.yaml(`  viewer: { subscribe: n/a }\n`));
    await until(async () => (await world.publish('n/b', [1]), told.length === 2), 'to be told', 90_000);
    assert.deepEqual(told[1], ['n/#', 'forbidden', 'n/#']);
    assert.deepEqual(client.errors.map((error) => error.channel), ['other/#', 'n/#']);
    await world.publish('n/b', ['secret']);
    await world.publish('n/a', [3]);
    await until(() => got.at(-1) === 'n/a3', 'the value that is still allowed');
    assert.ok(!wide.includes('n/bsecret'));
    assert.deepEqual(got, ['n/a1', 'n/a3']);
    assert.equal(told.length, 2); // it was not asked for again
  });
}

test('no token where one is needed; anonymous clients where they may', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const client = world.client({});
  client.subscribe('n/a', () => assert.fail('nothing comes'));
  await until(() => client.state === 'unauthorized', 'the client to say so');

  const open = await start(t, '  anonymous: [viewer]\n');
  await open.publish('n/a', [1]);
  for (const transport of TRANSPORTS) {
    const guest = open.client({ transports: [transport] });
    const got = [];
    guest.subscribe('n/a', (m) => got.push(m.data));
    await until(() => got.length, 'a value');
    await assert.rejects(guest.publish('n/a', 2), { code: 'forbidden' });
    guest.setToken(open.locks.jwt({ sub: 'alice', roles: ['admin'] }));
    await until(() => guest.state === 'live', 'to be signed in');
    assert.equal(await guest.publish('n/a', 2), 'published');
    guest.close();
  }
});

test('a token function that fails is asked again, and no transport is given up for it', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  let asked = 0;
  const client = world.client({
    token: () => {
      if (asked++ < 2) throw new Error('the identity provider is away');
      return world.locks.key;
    },
  });
  const got = [], states = [];
  client.on('state', (event) => states.push(event));
  client.subscribe('n/a', (m) => got.push(m.data));
  await until(() => got.length, 'a value');
  assert.equal(client.transport, 'websocket');
  assert.equal(asked, 3);
  assert.match(states.find((event) => event.state === 'waiting').reason, /identity provider/);
});
