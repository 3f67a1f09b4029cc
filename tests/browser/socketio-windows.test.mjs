// Windows of numbers (`aggregate`) for stock clients of Socket.IO: exact, after /series without a hole, over cuts and moves.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { io as io4 } from 'socket.io-client';
import { io as io3 } from 'socket.io-client-v3';
import { Relay, until, World } from './world.mjs';

const EVERY = 200;
const ROUTES = '  - { topic: rooms/#, history: { count: 20000 } }';
const CARRIERS = [['websocket', ['websocket']], ['polling', ['polling']], ['upgrade', ['polling', 'websocket']]];

async function start(t, more = '') {
  const world = new World(t);
  await world.broker();
  const gateway = await world.sluice(ROUTES, `socketio: { ping_interval: 500ms, ping_timeout: 500ms }\n${more}`);
  await until(() => Date.now() % EVERY > EVERY / 2, 'a part of the first window, which is partial');
  await until(() => Date.now() % EVERY < EVERY / 2, 'the next window');
  const sockets = [];
  world.keep(() => sockets.forEach((socket) => socket.disconnect()));
  const connect = (io, transports, url = gateway.url, options = {}) => {
    const socket = io(url, { transports, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
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
const isWindow = ({ data }) => typeof data === 'object' && data !== null && 'step' in data;

/** The windows of a client by time; of the same time the later one counts. */
function windows(socket, channel) {
  const found = new Map();
  for (const { data, ts } of socket.got.filter((message) => message.channel === channel && isWindow(message))) {
    assert.equal(data.step, EVERY);
    assert.equal(ts, data.t + EVERY);
    found.set(data.t, [data.count, data.min, data.max, data.last]);
  }
  return found;
}

/** What they have to be, by the history. */
async function oracle(gateway, channel) {
  const { messages } = await (await fetch(`${gateway.url}/channels/${channel}/history?limit=10000`)).json();
  const found = new Map();
  for (const { data, ts } of messages) {
    const t = ts - (ts % EVERY);
    const [count, min, max] = found.get(t) || [0, Infinity, -Infinity];
    found.set(t, [count + 1, Math.min(min, data), Math.max(max, data), data]);
  }
  return found;
}

/** Publishes numbers until it is stopped. */
function feed(world, channel) {
  let over = false;
  const done = (async () => {
    for (let i = 0; !over; i++) await world.publish(channel, [((i * 37) % 101) - 50]);
  })();
  return async () => ((over = true), done);
}
const passed = async (count) => {
  const end = (Math.floor(Date.now() / EVERY) + count) * EVERY;
  await until(() => Date.now() > end, 'some windows');
};
/** All windows come, and in the end they are those of the history: what the broker has may not have reached it yet. */
async function compare(gateway, socket, channel) {
  let wanted, got;
  await until(async () => {
    [wanted, got] = [[...(await oracle(gateway, channel))], [...windows(socket, channel)]].map((all) => JSON.stringify(all.sort(([a], [b]) => a - b)));
    return wanted === got;
  }, () => `${wanted}, not ${got}`, 20_000);
}

for (const [version, io] of [['4', io4], ['3', io3]]) {
  for (const [carrier, transports] of CARRIERS) {
    test(`socket.io-client ${version} by ${carrier}: windows are what the history says, from before the subscription too`, async (t) => {
      const { world, gateway, connect } = await start(t, 'workers: 3\n');
      const stop = feed(world, 'rooms/k');
      await passed(2);
      const socket = connect(io, transports);
      await connected(socket);
      const answer = await socket.ask('subscribe', { channel: 'rooms/k', aggregate: { every: `${EVERY}ms` }, since: '-10s' });
      assert.deepEqual([answer.status, answer.channel, answer.snapshot], ['subscribed', 'rooms/k', 0]);
      await until(() => socket.heard('synced').length, 'synced');
      await passed(3);
      await stop();
      await compare(gateway, socket, 'rooms/k');
      assert.ok(socket.got.every(isWindow));
      assert.equal(socket.io.engine.transport.name, transports.at(-1));
      assert.equal((await socket.ask('unsubscribe', 'rooms/k')).code, 'bad_request'); // that would be messages
      assert.equal((await socket.ask('unsubscribe', { channel: 'rooms/k', aggregate: `value:${EVERY}ms` })).status, 'unsubscribed');
    });
  }
}

for (const [carrier, transports] of CARRIERS) {
  for (const messages of [false, true]) {
    test(`windows${messages ? ' beside messages' : ''} over cuts, by ${carrier}: none is missing${messages ? ', no message twice' : ''}`, async (t) => {
      const { world, gateway, connect } = await start(t, 'workers: 3\n');
      const relay = await Relay.to(world, gateway.port);
      const stop = feed(world, 'rooms/k');
      await passed(1);
      const socket = connect(io4, transports, relay.url);
      await connected(socket);
      if (messages) assert.equal((await socket.ask('subscribe', { channel: 'rooms/k', since: '-10s' })).status, 'subscribed');
      assert.equal((await socket.ask('subscribe', { channel: 'rooms/k', aggregate: `value:${EVERY}ms`, since: '-10s' })).status, 'subscribed');
      for (let cut = 0; cut < 4; cut++) {
        // The first one at once: what is wanted of the past may not have come.
        if (cut) await passed(cut);
        const before = socket.heard('disconnect').length;
        let back = false;
        socket.once('connect', () => (back = true));
        await relay.cut();
        await until(() => !socket.connected, 'the client to notice');
        await passed(cut);
        await relay.mend();
        await until(() => back, 'the next connection');
        assert.equal(socket.recovered, true, `cut ${cut}, ${before}`);
      }
      await passed(1);
      await stop();
      await compare(gateway, socket, 'rooms/k');
      assert.equal(socket.heard('gap').length, 0);
      if (!messages) return;
      const seen = socket.got.filter((message) => !isWindow(message)).map(({ cursor }) => cursor);
      const all = (await (await fetch(`${gateway.url}/channels/rooms/k/history?limit=10000`)).json()).messages.map(({ cursor }) => cursor);
      await until(() => socket.got.filter((message) => !isWindow(message)).length >= all.length, 'all messages');
      assert.equal(new Set(seen).size, seen.length);
    });
  }
}

test('what is not possible is refused with the reason', async (t) => {
  const { connect } = await start(t, 'limits: { aggregates: 1 }\n');
  const socket = connect(io4, ['websocket']);
  await connected(socket);
  const ask = (more) => socket.ask('subscribe', { channel: 'rooms/k', ...more });
  for (const [more, code, message] of [
    [{ aggregate: { every: '1ms' } }, 'bad_request', /100ms to 1d/],
    [{ aggregate: { field: 't', every: '1s' } }, 'bad_request', /JSON pointer/],
    [{ aggregate: 5 }, 'bad_request', /an object such as/],
    [{ aggregate: '/t' }, 'bad_request', /FIELD:EVERY/],
    [{ aggregate: '/t:1s', interval: '1s' }, 'bad_request', /exclude each other/],
  ]) {
    const answer = await ask(more);
    assert.equal(answer.code, code, JSON.stringify(more));
    assert.match(answer.message, message);
  }
  assert.equal((await ask({ aggregate: '/t:1s' })).status, 'subscribed');
  const refused = await ask({ aggregate: '/t:2s' });
  assert.equal(refused.code, 'limit_reached');
  assert.match(refused.message, /limits.aggregates/);
});
