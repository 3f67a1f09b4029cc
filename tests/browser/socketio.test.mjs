// Stock clients of Socket.IO, unmodified: the newest 4 and 3 from npm.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { io as io4 } from 'socket.io-client';
import { io as io3 } from 'socket.io-client-v3';
import { Relay, until, World } from './world.mjs';

const ROUTES = `  - { topic: rooms/#, history: { count: 5000 }, publish: { qos: 1 } }
  - { topic: once/#, publish: { qos: 0 } }
  - { topic: raw/#, publish: { qos: 1 } }`;
const CLIENTS = [['4', io4], ['3', io3]];
const CARRIERS = [['websocket', ['websocket']], ['polling', ['polling']], ['upgrade', ['polling', 'websocket']]];

/** A gateway for Socket.IO, and a client of it that notes what it gets. */
async function start(t, more = 'socketio: true\n', routes = ROUTES) {
  const world = new World(t);
  await world.broker();
  const gateway = await world.sluice(routes, more);
  const sockets = [];
  world.keep(() => sockets.forEach((socket) => socket.disconnect()));
  const connect = (io, transports, options = {}, space = '', url = gateway.url) => {
    const socket = io(url + space, { transports, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
    sockets.push(socket);
    socket.got = [];
    socket.events = [];
    socket.on('message', (message, offset) => socket.got.push({ ...message, offset }));
    socket.onAny((event, ...args) => socket.events.push([event, ...args]));
    socket.ask = (...args) => new Promise((resolve) => socket.emit(...args, resolve));
    socket.heard = (event) => socket.events.filter(([name]) => name === event);
    return socket;
  };
  return { world, gateway, connect };
}
const connected = (socket) => until(() => socket.connected, 'the connection');

for (const [version, io] of CLIENTS) {
  for (const [carrier, transports] of CARRIERS) {
    const name = `socket.io-client ${version} by ${carrier}`;

    test(`${name}: subscribe, messages, publish, unsubscribe`, async (t) => {
      const { world, gateway, connect } = await start(t);
      await world.publish('rooms/a', ['{"t":1}'], { retain: true });
      await until(async () => (await fetch(gateway.url + '/channels/rooms/a')).ok, 'the gateway to have it');
      const socket = connect(io, transports);
      await connected(socket);
      await until(() => socket.heard('welcome').length, 'welcome');
      const [, welcome, offset] = socket.heard('welcome')[0];
      assert.match(welcome.cursor, /^[\w-]+\.\d+$/);
      assert.equal(offset, `${welcome.cursor}~0`);
      const subscribed = await socket.ask('subscribe', 'rooms/#');
      assert.deepEqual({ ...subscribed, cursor: 0 }, { status: 'subscribed', channel: 'rooms/#', cursor: 0, recovered: false, snapshot: 1 });
      await until(() => socket.heard('synced').length, 'synced');
      assert.deepEqual(socket.got.map((message) => [message.channel, message.data, message.offset]),
        [['rooms/a', { t: 1 }, undefined]]);
      const [, synced, end] = socket.heard('synced')[0];
      assert.deepEqual(synced.channels, ['rooms/#']);
      assert.match(end.slice(synced.cursor.length), /^~[1-9]\d*$/);

      assert.deepEqual(await socket.ask('publish', 'rooms/b', { on: true }), { status: 'published' });
      await until(() => socket.got.length === 2, 'the echo');
      const [, echo] = socket.got;
      assert.deepEqual([echo.channel, echo.data, echo.retained], ['rooms/b', { on: true }, undefined]);
      assert.equal(echo.offset, echo.cursor);
      assert.ok(Math.abs(Date.now() - echo.ts) < 60_000);
      assert.deepEqual(await socket.ask('publish', { topic: 'once/x', payload: '1' }), { status: 'accepted' });

      assert.deepEqual(await socket.ask('unsubscribe', 'rooms/#'), { status: 'unsubscribed' });
      assert.deepEqual(await socket.ask('publish', 'rooms/b', 2), { status: 'published' });
      assert.deepEqual((await socket.ask('subscribe', ['rooms/b'])).channels, ['rooms/b']);
      await until(() => socket.got.length === 3, 'the last value');
      assert.equal(socket.got[2].data, 2);
    });

    test(`${name}: spellings`, async (t) => {
      const { connect } = await start(t);
      const socket = connect(io, transports);
      await connected(socket);
      const filter = (n) => `rooms/${n}/+`;
      for (const [n, argument] of [filter(0), [filter(1)], { topic: filter(2) }, { channel: filter(3), qos: 1 }, JSON.stringify({ topic: filter(4) }),
        { topics: [filter(5)] }].entries()) {
        const answer = await socket.ask('subscribe', argument);
        assert.deepEqual([answer.status, answer.channel ?? answer.channels[0]], ['subscribed', filter(n)], JSON.stringify(argument));
      }
      const forms = [['rooms/0/x', 'v'], [{ channel: 'rooms/1/x', data: 'v' }], [{ topic: 'rooms/2/x', payload: 'v' }], [{ topic: 'rooms/3/x', message: 'v', qos: 2 }],
        [JSON.stringify({ topic: 'rooms/4/x', message: 'v' })], ['rooms/5/x', 'v', { retain: true }]];
      for (const form of forms) assert.deepEqual(await socket.ask('publish', ...form), { status: 'published' }, JSON.stringify(form));
      await until(() => socket.got.length === forms.length, 'all of them');
      assert.deepEqual(socket.got.map((message) => message.data), forms.map(() => 'v'));
      assert.deepEqual(socket.got.map((message) => message.channel), forms.map((_, n) => `rooms/${n}/x`));
    });

    test(`${name}: bytes both ways`, async (t) => {
      const { world, gateway, connect } = await start(t);
      const socket = connect(io, transports);
      await connected(socket);
      await socket.ask('subscribe', 'raw/#');
      const bytes = Buffer.from([0xff, 0, 1, 2, 0xfe]);
      assert.deepEqual(await socket.ask('publish', 'raw/x', bytes), { status: 'published' });
      await until(() => socket.got.length === 1, 'the bytes');
      assert.deepEqual(Buffer.from(socket.got[0].data), bytes);
      assert.equal(socket.got[0].offset, socket.got[0].cursor);
      // Inside a value they are what codec auto makes of them.
      assert.deepEqual(await socket.ask('publish', 'raw/y', { a: bytes, b: [bytes] }), { status: 'published' });
      await until(() => socket.got.length === 2, 'the object');
      assert.deepEqual(socket.got[1].data, { a: { base64: bytes.toString('base64') }, b: [{ base64: bytes.toString('base64') }] });
      const large = Buffer.alloc(40_000, 0xff);
      assert.deepEqual(await socket.ask('publish', 'raw/z', large), { status: 'published' });
      await until(() => socket.got.length === 3, 'the large one');
      assert.deepEqual(Buffer.from(socket.got[2].data), large);
      void world, gateway;
    });

    test(`${name}: errors`, async (t) => {
      const { connect } = await start(t);
      const socket = connect(io, transports);
      await connected(socket);
      const code = async (...args) => {
        const answer = await socket.ask(...args);
        assert.equal(answer.status, 'error', JSON.stringify([args, answer]));
        assert.ok(answer.message.length > 5);
        return answer.code;
      };
      assert.equal(await code('subscribe', 'nowhere/x'), 'unknown_channel');
      assert.equal(await code('subscribe', 'a/#/b'), 'bad_request');
      assert.equal(await code('subscribe'), 'bad_request');
      assert.equal(await code('subscribe', 5), 'bad_request');
      assert.equal(await code('subscribe', { topic: 'rooms/a', cursor: 'x' }), 'bad_request');
      assert.equal(await code('subscribe', { topic: 'rooms/a', interval: 'soon' }), 'bad_request');
      assert.equal(await code('subscribe', ['rooms/a', 'nowhere/x']), 'unknown_channel');
      assert.equal(await code('unsubscribe', 'rooms/a'), 'bad_request'); // none of the list is left
      assert.equal(await code('publish', 'rooms/a'), 'bad_request');
      assert.equal(await code('publish', 'rooms/#', 1), 'bad_request');
      assert.equal(await code('publish', 'nowhere', 1), 'unknown_channel');
      assert.equal(await code('dance'), 'bad_request');
      socket.emit('publish', 'nowhere', 1); // nobody waits for an acknowledgement
      await until(() => socket.heard('error').length, 'the event');
      assert.equal(socket.heard('error')[0][1].code, 'unknown_channel');
      assert.ok(socket.connected);
    });

    test(`${name}: namespaces`, async (t) => {
      const { connect } = await start(t, 'socketio: { namespaces: [/custom] }\n');
      const socket = connect(io, transports, {}, '/custom');
      await connected(socket);
      await socket.ask('subscribe', 'rooms/#');
      await socket.ask('publish', 'rooms/n', 7);
      await until(() => socket.got.length === 1, 'the message');
      assert.equal(socket.got[0].data, 7);
      // A second one on the same connection.
      const other = socket.io.socket('/');
      await connected(other);
      assert.equal((await new Promise((resolve) => other.emit('subscribe', 'rooms/#', resolve))).status, 'subscribed');
      other.disconnect();
      await socket.ask('publish', 'rooms/n', 8);
      await until(() => socket.got.length === 2, 'the next one');
      const wrong = connect(io, transports, {}, '/random');
      const error = await new Promise((resolve) => wrong.on('connect_error', resolve));
      assert.equal(error.message, 'Invalid namespace');
    });
  }
}

// --- numbered messages: none is lost, none comes twice --------------------------------------------------------------

const COUNT = 2000;

/** Publishes 1 to COUNT in portions, as fast as the broker takes them. */
async function publishAll(world, between = () => {}) {
  for (let number = 0; number < COUNT; number += 50) {
    await world.publish('rooms/n', Array.from({ length: 50 }, (_, i) => String(number + i + 1)));
    await between(number);
  }
}
const numbers = (socket) => socket.got.filter(({ channel }) => channel === 'rooms/n').map(({ data }) => data);
const ALL = Array.from({ length: COUNT }, (_, i) => i + 1);

for (const [version, io] of CLIENTS) {
  for (const [carrier, transports] of CARRIERS) {
    test(`socket.io-client ${version} by ${carrier}: ${COUNT} messages with three workers`, async (t) => {
      const { world, connect } = await start(t, 'workers: 3\nsocketio: true\n');
      const sockets = [];
      // Some are there from the beginning, others connect and upgrade while messages come.
      const add = async () => {
        const socket = connect(io, transports);
        sockets.push(socket);
        await connected(socket);
        const { cursor, status } = await socket.ask('subscribe', 'rooms/n');
        assert.equal(status, 'subscribed');
        socket.from = Number(cursor.split('.')[1]);
      };
      await Promise.all([add(), add(), add()]);
      await publishAll(world, async (number) => number % 200 === 0 && number < 1000 && Promise.all([add(), add()]));
      await until(() => sockets.every((socket) => numbers(socket).at(-1) === COUNT), () => `the last message: ${sockets.map((s) => numbers(s).at(-1))}`);
      for (const socket of sockets) {
        const got = numbers(socket);
        assert.deepEqual(got, ALL.slice(got[0] - 1));
        assert.ok(got[0] <= Math.max(socket.from, 1), `${got[0]} is the first, after ${socket.from}`);
        assert.equal(socket.heard('gap').length, 0);
      }
      assert.equal(sockets[0].io.engine.transport.name, transports.at(-1));
    });

    test(`socket.io-client ${version} by ${carrier}: 300 publishes while it upgrades, with three workers`, async (t) => {
      const { connect } = await start(t, 'workers: 3\nsocketio: true\nlimits: { publishes_per_session: 300 }\n');
      const reader = connect(io, ['websocket']);
      await connected(reader);
      await reader.ask('subscribe', 'rooms/n');
      const socket = connect(io, transports);
      await connected(socket);
      const answers = await Promise.all(Array.from({ length: 300 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i / 5));
        return socket.ask('publish', 'rooms/n', i + 1);
      }));
      assert.deepEqual(new Set(answers.map(({ status, code }) => code ?? status)), new Set(['published']));
      await until(() => reader.got.length === 300, 'all of them');
      assert.deepEqual(numbers(reader), ALL.slice(0, 300));
    });
  }
}

// --- recovery ---------------------------------------------------------------------------------------------------------

/** All numbers in order, none twice, over many cuts. */
async function overCuts(t, io, transports, { more = '', options = {}, restart = false } = {}) {
  const { world, gateway, connect } = await start(t, `workers: 3\n${more}socketio: { ping_interval: 500ms, ping_timeout: 500ms }\n`,
    restart ? ROUTES.replace('count: 5000', 'count: 5000, store: disk') : ROUTES);
  const relay = await Relay.to(world, gateway.port);
  const socket = connect(io, transports, options, '', relay.url);
  const recovered = [];
  socket.on('connect', () => recovered.push(socket.recovered));
  const story = [];
  socket.on('connect_error', (error) => story.push(error.message));
  socket.on('disconnect', (reason) => story.push(reason));
  await connected(socket);
  if (!options.auth) assert.equal((await socket.ask('subscribe', 'rooms/n')).status, 'subscribed');
  await until(() => socket.heard('synced').length, 'synced');
  let cuts = 0;
  await publishAll(world, async (number) => {
    if (number % 300 !== 150) return;
    cuts++;
    const before = recovered.length;
    await relay.cut();
    await until(() => !socket.connected, 'the client to notice');
    if (restart && number === 750) {
      // What the broker has is not yet what the gateway has.
      await until(async () => (await (await fetch(gateway.url + '/channels/rooms/n')).json()).data === 800, 'the gateway to have it');
      await gateway.stop();
      await gateway.start();
    }
    await relay.mend();
    if (number % 600 === 150) await until(() => recovered.length > before, () => `the next connection: ${story}`);
  });
  await until(() => numbers(socket).at(-1) === COUNT, () => `the last message: ${numbers(socket).at(-1)}, ${recovered}`);
  assert.deepEqual(numbers(socket), ALL);
  assert.equal(socket.heard('gap').length, 0);
  assert.ok(recovered.length >= 4 && recovered.slice(1).every((value) => value === true), `${cuts} cuts: ${recovered}`);
}

for (const [carrier, transports] of CARRIERS) {
  test(`socket.io-client 4 by ${carrier}: ${COUNT} messages over cuts`, (t) => overCuts(t, io4, transports));
  test(`socket.io-client 4 by ${carrier}: declared channels, over cuts and a restart`, (t) => overCuts(t, io4, transports, {
    more: `storage: { path: ${join(mkdtempSync(join(tmpdir(), 'sluice-store-')), 'history.db')} }\n`,
    options: { auth: { channels: ['rooms/n'] } },
    restart: true,
  }));
}

test('last values that were cut off come after all', async (t) => {
  const { world, gateway, connect } = await start(t);
  for (let room = 0; room < 40; room++) await world.publish('rooms/v', [`${room}`]);
  const socket = connect(io4, ['websocket']);
  await connected(socket);
  // Cut at once: neither the acknowledgement nor a value may have come.
  socket.emit('subscribe', 'rooms/#');
  await until(() => socket.got.length || socket.heard('synced').length, 'the first value');
  socket.io.engine.transport.ws.terminate();
  await world.publish('rooms/w', ['1', '2', '3']);
  await until(() => socket.recovered && socket.got.filter(({ channel }) => channel === 'rooms/w').length === 3, 'what came meanwhile');
  assert.deepEqual(socket.got.filter(({ channel }) => channel === 'rooms/w').map(({ data }) => data), [1, 2, 3]);
  assert.ok(socket.got.some(({ channel, data }) => channel === 'rooms/v' && data === 39));
  void gateway;
});

/** A client that polls by hand, so that a test decides what reaches it. */
async function byHand(gateway, auth = {}) {
  const SEPARATOR = '\x1e';
  const at = (sid = '') => `${gateway.url}/socket.io/?EIO=4&transport=polling${sid && '&sid=' + sid}`;
  const { sid } = JSON.parse((await (await fetch(at())).text()).slice(1));
  const client = {
    post: async (packet) => assert.equal(await (await fetch(at(sid), { method: 'POST', body: packet })).text(), 'ok'),
    /** The events of the next answer; CONNECT as `connect`. */
    poll: async () => (await (await fetch(at(sid))).text()).split(SEPARATOR).flatMap((packet) => {
      if (packet.startsWith('40')) return [['connect', JSON.parse(packet.slice(2))]];
      return packet.startsWith('42') ? [JSON.parse(packet.slice(2))] : packet.startsWith('43') ? [['answer']] : [];
    }),
  };
  await client.post('40' + JSON.stringify(auth));
  return client;
}

for (const count of [1, 60]) {
  for (const received of [false, true]) {
    test(`what came after a cursor is not lost with the connection: ${count} messages, ${received ? 'a part' : 'none'} of them received`, async (t) => {
      const { world, gateway } = await start(t, 'socketio: true\nworkers: 2\n');
      await world.publish('rooms/n', ['0']);
      const cursor = await until(async () => (await (await fetch(gateway.url + '/channels/rooms/n')).json()).cursor, 'the first one');
      // More than one answer of a poll holds, which is 256 KiB.
      const all = Array.from({ length: count }, (_, i) => JSON.stringify({ n: i + 1, pad: 'x'.repeat(count > 1 ? 10_000 : 1) }));
      await world.publish('rooms/n', all);
      await until(async () => (await (await fetch(gateway.url + '/channels/rooms/n')).json()).data?.n === count, 'the last one');
      const got = [];
      let pid, offset;
      const hear = (events) => events.forEach(([event, value, end]) => {
        if (event === 'connect') pid = value.pid;
        if (event === 'message') got.push(value.data.n);
        if (typeof end === 'string') offset = end;
      });
      const first = await byHand(gateway);
      while (!offset) hear(await first.poll());
      await first.post('420' + JSON.stringify(['subscribe', { channel: 'rooms/n', cursor }]));
      if (received) hear(await first.poll());
      const before = got.length;
      assert.equal(before > 0, received);
      const known = pid;
      const second = await byHand(gateway, { pid, offset });
      const synced = [];
      while (!synced.length) {
        const events = await second.poll();
        hear(events);
        synced.push(...events.filter(([event]) => event === 'synced'));
      }
      assert.equal(pid, known); // it was recovered
      assert.deepEqual(got, Array.from({ length: count }, (_, i) => i + 1), `${before} before`);
    });
  }
}

test('what can not be recovered is a new session', async (t) => {
  const { world, gateway, connect } = await start(t, 'socketio: { recovery: 200ms }\n');
  const relay = await Relay.to(world, gateway.port);
  const socket = connect(io4, ['websocket'], {}, '', relay.url);
  await connected(socket);
  await socket.ask('subscribe', 'rooms/n');
  await relay.cut();
  await new Promise((resolve) => setTimeout(resolve, 600));
  await relay.mend();
  await until(() => socket.heard('welcome').length === 2, 'a second welcome');
  assert.equal(socket.recovered, false);
  assert.equal((await socket.ask('unsubscribe', 'rooms/n')).code, 'bad_request'); // nothing is left of it

  // One declared channel that is not possible refuses all of them.
  const wrong = connect(io4, ['websocket'], { auth: { channels: ['rooms/a', 'nowhere/a'] } });
  const error = await new Promise((resolve) => wrong.on('connect_error', resolve));
  assert.equal(error.data.code, 'unknown_channel');
  // Another client's pid opens nothing.
  const thief = connect(io4, ['websocket'], { auth: { pid: socket._pid, offset: 'x' } });
  await connected(thief);
  assert.equal((await thief.ask('unsubscribe', 'rooms/n')).code, 'bad_request');
});

test('without recovery there is no pid', async (t) => {
  const { connect } = await start(t, 'socketio: { recovery: 0s }\n');
  const socket = connect(io4, ['websocket']);
  await connected(socket);
  assert.equal(socket._pid, undefined);
});

// --- pages written for a bridge of one's own ---------------------------------------------------------------------------
// Each is the client side of a kind of bridge that is common, in its words; only the address is another one.

/** A dashboard: `subscribe {topic}`, `publish {topic, payload}`, and `mqtt {topic, payload}` with the text. */
function mqttPage(io, url, options) {
  const values = {};
  const socket = io(url, options);
  socket.on('connect', () => socket.emit('subscribe', { topic: 'home/#' }));
  socket.on('mqtt', (msg) => {
    const topic = msg.topic.split('/');
    values[topic[topic.length - 1]] = parseFloat(msg.payload);
  });
  return { socket, values, publish: () => socket.emit('publish', { topic: 'home/b', payload: '22.5' }) };
}

/** The example of Flask-MQTT: JSON text up, `mqtt_message {topic, payload}` down. */
function flaskPage(io, url, options) {
  const lines = [];
  const socket = io.connect(url, options);
  const subscribe = (topic) => socket.emit('subscribe', JSON.stringify({ topic }));
  socket.on('connect', () => subscribe('home/+'));
  socket.on('mqtt_message', function (data) {
    const text = '(' + data['topic'] + ' qos: ' + data['qos'] + ') ' + data['payload'];
    lines.push(text);
  });
  return { socket, lines, publish: () => socket.emit('publish', JSON.stringify({ topic: 'home/b', message: 'ON', qos: 1 })) };
}

/** A gateway with names of its own: `mqtt-subscribe topic`, `mqtt-publish {topic, message}`, `mqtt-message {topic, message}`. */
function dashPage(io, url, options) {
  const seen = [];
  const socket = io(url, options);
  socket.on('connect', function () {
    socket.emit('mqtt-subscribe', 'home/#');
  });
  socket.on('mqtt-message', ({ topic, message }) => seen.push([topic, JSON.parse(message).t]));
  return { socket, seen, publish: () => socket.emit('mqtt-publish', { topic: 'home/b', message: '{"t":2}', options: { qos: 0 } }) };
}

/** One event for each topic. */
function topicPage(io, url, options) {
  const seen = [];
  const socket = io(url, options);
  socket.on('home/a', (text) => seen.push(['a', text]));
  socket.on('home/b', (text) => seen.push(['b', text]));
  socket.emit('subscribe', ['home/a', 'home/b']);
  return { socket, seen, publish: () => socket.emit('publish', 'home/b', 'x') };
}

const HOME = '  - { topic: home/#, publish: { qos: 1 } }';
const PAGES = [
  ['mqtt', mqttPage, 'socketio: { preset: mqtt }', '21', (page) => assert.deepEqual(page.values, { a: 21, b: 22.5 })],
  ['flask', flaskPage, 'socketio: { preset: flask }', '21', (page) => assert.deepEqual(page.lines, ['(home/a qos: undefined) 21', '(home/b qos: undefined) ON'])],
  ['names of its own', dashPage, `socketio:
  preset: mqtt
  events: { message: mqtt-message, subscribe: mqtt-subscribe, unsubscribe: mqtt-unsubscribe, publish: mqtt-publish }
  members: { data: message }`, '{"t":1}', (page) => assert.deepEqual(page.seen, [['home/a', 1], ['home/b', 2]])],
  ['topic', topicPage, 'socketio: { preset: topic }', '{"t": 1}', (page) => assert.deepEqual(page.seen, [['a', '{"t": 1}'], ['b', 'x']])],
];
for (const [version, io] of CLIENTS) {
  for (const [name, start_, yaml, value, check] of PAGES) {
    test(`socket.io-client ${version}: a page of a bridge, ${name}`, async (t) => {
      const world = new World(t);
      await world.broker();
      await world.publish('home/a', [value], { retain: true });
      const gateway = await world.sluice(HOME, yaml + '\n');
      const page = start_(io, gateway.url, { reconnectionDelay: 20, forceNew: true });
      world.keep(() => page.socket.disconnect());
      const count = () => Object.keys(page.values ?? page.lines ?? page.seen).length;
      await until(() => count() === 1, 'the last value');
      page.publish();
      await until(() => count() === 2, 'what it published');
      check(page);
    });
  }
}
