// The client in Node against a real gateway: the built files, as they are published.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import WebSocket from 'ws';
import { Sluice, SluiceError } from '../../client/dist/sluice-client.js';
import { freePort, Relay, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 20000, bytes: 64MiB }
    publish: {}
  - topic: lamps/{id}
    publish: { topic: "lamps/{id}/set" }
  - topic: paced/{id}
    rate: { policy: latest, interval: 200ms }
  - topic: read/{id}
`;
const TRANSPORTS = ['websocket', 'sse', 'longpoll'];

async function start(t) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  world.client = (options = {}) => {
    const client = new Sluice(world.gateway.url, { WebSocket, ...options });
    world.keep(() => client.close());
    return client;
  };
  return world;
}

test('the address of a payload leads nowhere but to payloads, whatever a device writes', async (t) => {
  const world = await start(t);
  const client = world.client();
  const tag = '?v=0123456789abcdef';
  for (const good of ['n/a', 'n/%2Fb', 'n/..a', 'n/a%2F..%2Fb', 'n/caf%C3%A9'])
    assert.equal(client.address(`channels/${good}/raw${tag}`), `${world.gateway.url}/channels/${good}/raw${tag}`);
  for (const bad of ['channels/../other/raw', 'channels/a/../../x/raw', 'channels/a/%2e%2E/x/raw', 'channels/a/.%2e/raw', 'channels/a/./raw',
    'channels/a\\..\\..\\x/raw', 'channels/a/.\t./raw', 'channels/a?b/raw', 'channels/a#/raw', '/channels/a/raw', 'https://x/channels/a/raw', 'other/a/raw']) {
    assert.throws(() => client.address(bad + tag), { code: 'bad_request' }, bad);
    await assert.rejects(client.payload(bad + tag), { code: 'bad_request' }, bad);
  }
});

for (const transport of TRANSPORTS) {
  test(`since: all that is still there of a time, then live, once each, over ${transport}`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', range(1, 200));
    const client = world.client({ transports: [transport] });
    const got = [];
    client.subscribe('n/+', ({ data }) => got.push(data), { since: '1h' });
    await until(() => got.length >= 200, 'the past');
    await world.publish('n/a', range(201, 210));
    await until(() => got.length >= 210, 'what comes');
    assert.deepEqual(got, range(1, 210));
    assert.throws(() => client.subscribe('n/+', () => {}, { since: 'yesterday' }), TypeError);
  });
}

test('get(), history() and stream()', async (t) => {
  const world = await start(t);
  await world.publish('n/a', range(1, 20));
  const client = world.client();
  assert.equal((await client.get('n/a')).data, 20);
  assert.equal(await client.get('n/none'), undefined);
  await assert.rejects(client.get('nowhere'), { code: 'unknown_channel' });
  await assert.rejects(client.get('n/+'), { code: 'bad_request' });
  assert.deepEqual((await client.history('n/a')).map((m) => m.data), range(1, 20));
  const [first] = await client.history('n/a', { limit: 3 });
  assert.equal(first.data, 18);
  assert.deepEqual((await client.history('n/a', { cursor: first.cursor })).map((m) => m.data), [19, 20]);
  const got = [];
  for await (const { data } of client.stream('n/+')) {
    got.push(data);
    if (data === 20) await world.publish('n/b', range(21, 40));
    if (data === 40) break;
  }
  assert.deepEqual(got, range(20, 40));
  await assert.rejects(client.stream('nowhere').next(), { code: 'unknown_channel' });
  const ended = client.stream('n/none').next();
  client.close();
  assert.equal((await ended).done, true);
  const lost = new Sluice(`http://127.0.0.1:${await freePort()}`, { WebSocket });
  await assert.rejects(lost.get('x'), { code: 'unreachable' });
  lost.close();
});

test('a loop that is too slow for its stream is told', async (t) => {
  const world = await start(t);
  const client = world.client();
  const got = client.stream('n/s');
  const first = got.next();
  await until(() => client.state === 'live', 'the connection');
  await until(async () => (await world.publish('n/s', [0]), Promise.race([first, new Promise((resolve) => setTimeout(resolve, 50))])), 'the subscription');
  await world.publish('n/s', range(1, 10_100));
  await until(async () => (await client.get('n/s')).data === 10_100, 'all messages');
  await assert.rejects((async () => {
    for (;;) await got.next();
  })(), { code: 'overflow' });
});

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

for (const transport of TRANSPORTS) {
  test(`${transport}: paints at once, delivers, unsubscribes, publishes`, async (t) => {
    const world = await start(t);
    await world.publish('n/a', [1, 2, 3]);
    await world.publish('n/b', ['{"x":1}']);
    const client = world.client({ transports: [transport] });
    const got = [];
    const sub = client.subscribe('n/+', (m) => got.push([m.channel, m.data]));
    await until(() => got.length === 2, 'the last values');
    assert.deepEqual(got.sort(), [['n/a', 3], ['n/b', { x: 1 }]]);
    assert.equal(client.state, 'live');
    assert.equal(client.transport, transport);

    // A second handler is painted from what is known, the first hears nothing of it; another filter gets the rest.
    const second = [];
    client.subscribe('n/a', (m) => second.push(m.data));
    await until(() => second.length, 'the cached value');
    await world.publish('n/a', [4]);
    await until(() => second.length === 2 && got.length === 3, 'a live value');
    assert.deepEqual(second, [3, 4]);

    assert.equal(await client.publish('n/a', 5), 'published');
    await until(() => second.includes(5), 'the echo');
    await assert.rejects(client.publish('read/x', 1), (error) => error instanceof SluiceError && error.code === 'forbidden');
    await assert.rejects(client.publish('nowhere', 1), { code: 'unknown_channel' });
    await assert.rejects(client.publish('n/+', 1), { code: 'bad_request' });
    await assert.rejects(client.request('n/a', 1, { timeout: 300 }), (error) => ['timeout', 'no_responder'].includes(error.code));

    sub.off();
    client.off('n/a');
    await until(async () => / 0$/m.test((await (await fetch(world.gateway.url + '/metrics')).text())
      .split('\n').find((l) => l.startsWith('sluice_sessions ')) || '') || transport !== 'sse', 'the stream to close');
    const before = got.length + second.length;
    await world.publish('n/a', [6, 7]);
    await until(async () => (await (await fetch(world.gateway.url + '/channels/n/a')).json()).data === 7, 'the gateway to have it');
    const last = [];
    client.subscribe('n/a', (m) => last.push(m.data));
    await until(() => last.length, 'the value after subscribing again');
    assert.deepEqual(last, [7]);
    assert.equal(got.length + second.length, before);
  });

  test(`${transport}: survives a gateway that is killed, and one that is away`, async (t) => {
    const world = await start(t);
    await world.publish('n/kept', [1], { retain: true });
    const client = world.client({ transports: [transport] });
    const got = [], states = [], gaps = [];
    client.on('state', (e) => states.push(e.state));
    client.on('gap', (g) => gaps.push(`${g.channel} ${g.reason}`));
    client.subscribe('n/#', (m) => got.push(m.data));
    await until(() => got.length, 'the value');
    await world.gateway.stop('SIGKILL');
    await until(() => states.includes('waiting'), 'the client to notice');
    await assert.rejects(client.publish('n/a', 1), { code: 'offline' });
    await world.publish('n/kept', [2], { retain: true });
    await world.gateway.start();
    await until(() => got.at(-1) === 2, 'the value of the new run');
    // Told, not silent: for the filter, and for the channel if the gateway knew it already when the client came.
    assert.deepEqual([...gaps].sort(), gaps.length > 1 ? ['n/# epoch', 'n/kept epoch'] : ['n/# epoch']);
  });
}

test('10,000 numbered messages with a change of transport every few hundred', async (t) => {
  const world = await start(t);
  const client = world.client();
  const got = [];
  let gaps = 0, changes = 0;
  client.on('gap', () => gaps++);
  client.subscribe('n/one', (m) => {
    got.push(m.data);
    if (got.length % 400 === 0) client.use([TRANSPORTS[++changes % 3]]);
  });
  let ready = 0;
  client.subscribe('n/other', () => ready++);
  await until(async () => (await world.publish('n/other', [0]), ready), 'the subscriptions'); // the later one of the two
  const all = range(1, 10_000);
  await Promise.all([world.publish('n/one', all), world.publish('n/other', all)]);
  await until(() => got.at(-1) === 10_000, () => `the last message, ${got.length} so far`, 120_000);
  assert.equal(got.find((n, i) => n !== i + 1), undefined, 'the first that is lost, double or out of order');
  assert.equal(gaps, 0);
  assert.ok(changes >= 20);
});

test('subscriptions come and go while messages flow, over every transport', async (t) => {
  const world = await start(t);
  for (const transport of TRANSPORTS) {
    const client = world.client({ transports: [transport] });
    const topic = `n/${transport}`;
    const got = [];
    let ready = 0;
    client.subscribe(topic, (m) => {
      if (m.data === 0) return void ready++;
      got.push(m.data);
      if (got.length % 50 === 0) client.subscribe(`n/x${got.length}`, () => {});
      if (got.length % 70 === 0) client.off(`n/x${got.length - 70 + 50}`);
    });
    await until(async () => (await world.publish(topic, [0]), ready), 'the subscription');
    await world.publish(topic, range(1, 3000));
    await until(() => got.at(-1) === 3000, () => `all messages over ${transport}: ${got.length}`);
    assert.deepEqual(got, range(1, 3000));
    client.close();
  }
});

test('paced channels end with the last value, whatever the transport does', async (t) => {
  const world = await start(t);
  const client = world.client();
  const got = [];
  client.subscribe('paced/p', (m) => got.push(m.data));
  client.subscribe('n/#', () => {});
  await until(() => client.state === 'live', 'the client');
  for (const [i, transport] of [...TRANSPORTS, ...TRANSPORTS].entries()) {
    await world.publish('paced/p', range(i * 100 + 1, i * 100 + 100));
    await world.publish('n/between', [i]);
    client.use([transport]);
    await until(() => got.at(-1) === i * 100 + 100, `the last value over ${transport}`);
  }
  assert.deepEqual(got, [...new Set(got)].sort((a, b) => a - b)); // nothing twice, nothing back
  assert.ok(got.length < 200);
});

test('a slower interval for one handler, full speed for another of the same channel', async (t) => {
  const world = await start(t);
  const client = world.client();
  const slow = [], fast = [];
  client.subscribe('n/s', (m) => slow.push(m.data), { interval: '500ms' });
  await until(() => client.state === 'live', 'the client');
  await world.publish('n/s', range(1, 300));
  await until(() => slow.at(-1) === 300, 'the last value');
  assert.ok(slow.length < 20, `${slow.length} values`);
  client.subscribe('n/s', (m) => fast.push(m.data));
  await until(() => fast.length, 'the cached value');
  await world.publish('n/t', [0]);
  await until(async () => { // the faster subscription is in force when nothing is left out any more
    const from = fast.length, base = fast.at(-1);
    await world.publish('n/s', range(base + 1, base + 50));
    await until(() => fast.at(-1) === base + 50);
    return fast.length === from + 50;
  }, 'full speed');
  assert.throws(() => client.subscribe('n/s', () => {}, { interval: 'soon' }), TypeError);
});

test('a refused channel does not take the others with it', async (t) => {
  const world = await start(t);
  for (const transport of TRANSPORTS) {
    const client = world.client({ transports: [transport] });
    const errors = [], got = [];
    client.on('error', (e) => errors.push([e.code, e.channel]));
    client.subscribe('nowhere/at/all', () => {});
    client.subscribe('n/a/#/b', () => {});
    client.subscribe('n/a', (m) => got.push(m.data));
    await until(() => errors.length === 2, `the refusals over ${transport}`);
    assert.deepEqual(errors.sort(), [['bad_request', 'n/a/#/b'], ['unknown_channel', 'nowhere/at/all']]);
    await until(() => client.state === 'live', 'the client');
    await until(async () => (await client.publish('n/a', transport), got.includes(transport)), 'values');
    client.close();
  }
});

test('what is published offline waits if it shall', async (t) => {
  const world = await start(t);
  const relay = await Relay.to(world, world.gateway.port);
  await relay.cut();
  const client = new Sluice(relay.url, { WebSocket, offline: 'queue', queueLimit: 3 });
  world.keep(() => client.close());
  const promises = [1, 2, 3].map((n) => client.publish('n/q', n));
  await assert.rejects(client.publish('n/q', 4), { code: 'offline' });
  await relay.mend();
  assert.deepEqual(await Promise.all(promises), ['published', 'published', 'published']);
  const history = await (await fetch(world.gateway.url + '/channels/n/q/history')).json();
  assert.deepEqual(history.messages.map((m) => m.data), [1, 2, 3]);
  client.close();
  await assert.rejects(client.publish('n/q', 5), { code: 'closed' });
});

test('a WebSocket that opens and stays silent, a stream that is held back: long-poll', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const { WebSocketServer } = await import('ws');
  // A proxy that takes WebSockets to nowhere and sends streams only when they end.
  const proxy = http.createServer((request, response) => {
    if (request.url.startsWith('/sse')) return; // collected for ever
    const inner = http.request(world.gateway.url + request.url, { method: request.method, headers: request.headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    inner.on('error', () => response.destroy());
    request.pipe(inner);
    response.on('close', () => inner.destroy());
  });
  let mute = true;
  const sockets = new WebSocketServer({ noServer: true });
  proxy.on('upgrade', (request, socket, head) => {
    if (mute) return sockets.handleUpgrade(request, socket, head, () => {});
    const inner = http.request(world.gateway.url + request.url, { headers: request.headers });
    inner.on('upgrade', (answer, upstream, first) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\n' + Object.entries(answer.headers).map(([k, v]) => `${k}: ${v}\r\n`).join('') + '\r\n');
      socket.write(first);
      upstream.pipe(socket).pipe(upstream);
      socket.on('error', () => upstream.destroy());
      upstream.on('error', () => socket.destroy());
    });
    inner.end();
  });
  const port = await freePort();
  proxy.listen(port, '127.0.0.1');
  world.keep(() => (sockets.clients.forEach((s) => s.terminate()), proxy.closeAllConnections(), proxy.close()));
  const client = new Sluice(`http://127.0.0.1:${port}`, { WebSocket, connectTimeout: 500, upgradeAfter: 200 });
  world.keep(() => client.close());
  const got = [], over = [];
  client.on('state', (e) => e.state === 'live' && over.push(e.transport));
  client.subscribe('n/a', (m) => got.push(m.data));
  await until(() => got.length, 'a value by long-poll');
  assert.deepEqual(over, ['longpoll']);
  mute = false; // the proxy was repaired
  await until(() => client.transport === 'websocket', 'the upgrade');
  await world.publish('n/a', range(2, 100));
  await until(() => got.at(-1) === 100, 'values over the WebSocket');
  assert.deepEqual(got, range(1, 100));
});

test('npm eventsource resumes with Last-Event-ID', async (t) => {
  const { EventSource } = await import('eventsource');
  const world = await start(t);
  const relay = await Relay.to(world, world.gateway.port);
  await world.publish('n/a', [0]);
  const source = new EventSource(relay.url + '/sse?channel=n/%2B&channel=lamps/1');
  world.keep(() => source.close());
  const got = [], events = [], ids = [];
  source.onmessage = (e) => (got.push(JSON.parse(e.data).data), ids.push(e.lastEventId));
  for (const type of ['gap', 'upstream']) source.addEventListener(type, (e) => events.push([type, JSON.parse(e.data)]));
  await until(() => got.length, 'the last value');
  await world.publish('n/a', range(1, 500));
  await until(() => got.length === 501, 'live messages');
  await relay.cut();
  await world.publish('n/a', range(501, 1000));
  await relay.mend();
  await until(() => got.length >= 1001, 'what came meanwhile');
  assert.deepEqual(got, range(0, 1000));
  assert.equal(new Set(ids).size, 1001);
  await world.stopBroker();
  await until(() => events.some(([type, e]) => type === 'upstream' && e.state === 'down'), 'upstream down');
  await world.startBroker();
  await until(() => events.some(([type, e]) => type === 'upstream' && e.state === 'up'), 'upstream up');
  assert.ok(!events.some(([type]) => type === 'gap'));
});

test('Retry-After and close codes are honoured', async (t) => {
  const world = new World(t);
  const hits = [];
  let answer = (request, response) => {
    hits.push(Date.now());
    response.writeHead(503, { 'Retry-After': '2' });
    response.end();
  };
  const server = http.createServer((request, response) => answer(request, response));
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  world.keep(() => (server.closeAllConnections(), server.close()));
  const client = new Sluice(`http://127.0.0.1:${port}`, { transports: ['longpoll'] });
  world.keep(() => client.close());
  client.subscribe('a', () => {});
  await until(() => hits.length >= 2, 'the second attempt');
  assert.ok(hits[1] - hits[0] >= 1950, `came back after ${hits[1] - hits[0]} ms`);

  const { WebSocketServer } = await import('ws');
  const socketPort = await freePort();
  const sockets = new WebSocketServer({ port: socketPort, host: '127.0.0.1' });
  await once(sockets, 'listening');
  world.keep(() => sockets.close());
  let connections = 0;
  sockets.on('connection', (socket, request) => {
    const [, code] = /code=(\d+)/.exec(request.url) || [];
    if (!code) connections++;
    socket.send('{"type":"welcome","session":"x","cursor":"e.1"}');
    socket.close(Number(code || 4401), 'unauthorized: no');
  });
  // How long it is going to wait is drawn at random, within bounds; what has failed once waits longer the next time.
  for (const [code, least, most] of [[1001, 0, 3000], [1011, 0, 1000], [1013, 0, 500], [1002, 30_000, 30_000], [1007, 30_000, 30_000]]) {
    class Socket extends WebSocket {
      constructor(url, protocol) {
        super(`${url}?code=${code}`, protocol);
      }
    }
    const one = new Sluice(`ws://127.0.0.1:${socketPort}`, { WebSocket: Socket });
    const waits = [];
    one.on('state', (event) => event.state === 'waiting' && waits.push(event.retryIn));
    await until(() => waits.length, `the end by ${code}`);
    assert.ok(waits[0] >= least && waits[0] <= most, `${code}: ${waits[0]} ms`);
    one.close();
  }
  const other = new Sluice(`ws://127.0.0.1:${socketPort}`, { WebSocket });
  world.keep(() => other.close());
  const errors = [];
  other.on('error', (e) => errors.push(e.code));
  await until(() => other.state === 'unauthorized', 'the client to give up');
  assert.deepEqual([errors, connections], [['unauthorized'], 1]);
  await assert.rejects(other.publish('a', 1), { code: 'unauthorized' });
});

// The second connection breaks after one of two overlapping filters has resumed and before the other has.
test('a break between two subscriptions loses nothing and doubles nothing', async (t) => {
  const world = await start(t);
  const sockets = [];
  let held = false; // while it is true there is nothing to connect to
  class Cut extends WebSocket {
    constructor(url, ...args) {
      super(held ? 'ws://127.0.0.1:1/' : url, ...args);
      if (!held) sockets.push(this);
      this.number = sockets.length;
    }
    set onmessage(handler) {
      super.onmessage = handler && ((event) => {
        const frame = JSON.parse(event.data);
        if (this.number === 2 && frame.type === 'subscribed' && frame.channel === 'n/#') this.broken = true;
        if (this.broken) this.terminate();
        else handler(event);
      });
    }
  }
  const client = world.client({ transports: ['websocket'], WebSocket: Cut });
  const few = [], all = [];
  client.subscribe('n/+/late', (m) => few.push(m.data)); // resumes first
  client.subscribe('n/#', (m) => all.push(m.data));
  await world.publish('n/1/late', [1]);
  await until(() => few.length === 1 && all.length === 1, 'both to be live');
  held = true;
  sockets[0].terminate();
  await world.publish('n/2/early', [2]);
  await world.publish('n/1/late', [3]);
  held = false;
  await until(() => sockets.length >= 3 && all.length >= 3, 'the third connection');
  await world.publish('n/3/last', [4]);
  await until(() => all.includes(4), 'the last one');
  assert.deepEqual(few, [1, 3]);
  assert.deepEqual([...all].sort(), [1, 2, 3, 4]);
});
