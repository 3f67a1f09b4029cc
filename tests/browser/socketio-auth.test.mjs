// Who a client of Socket.IO is, for how long, and what ends it: stock clients, over polling and WebSocket.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { io } from 'socket.io-client';
import { until, World } from './world.mjs';

const ROUTES = '  - { topic: rooms/#, history: { count: 100 }, publish: { qos: 1 } }\n  - { topic: secret/# }';
const SECRET = 'a secret of thirty-two characters';
const CARRIERS = [['websocket'], ['polling'], ['polling', 'websocket']];
const now = () => Math.floor(Date.now() / 1000);
const b64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const signed = (claims) => {
  const text = `${b64({ alg: 'HS256', typ: 'JWT' })}.${b64(claims)}`;
  return `${text}.${createHmac('sha256', SECRET).update(text).digest('base64url')}`;
};
/** A token of somebody who may use rooms, for so many seconds. */
const token = (sub, seconds = 60) => signed({ sub, roles: ['user'], exp: now() + seconds });
const KEY = 'a-key-that-is-long-enough-to-be-one';

async function start(t, { role = '{ subscribe: [rooms/#], publish: [rooms/#] }', more = '', listen = 'socketio: true\n', anonymous = '' } = {}) {
  const world = new World(t);
  await world.broker();
  const secret = world.file('secret', SECRET);
  const yaml = (options = {}) => `auth:
  jwt: { secret_file: ${secret}, leeway: 0s }
  cookie: session
  expiry_warning: 1s
${anonymous}  api_keys:
${options.keys ?? `    - { name: kiosk, hash: "sha256:${createHash('sha256').update(KEY).digest('hex')}", roles: [user] }`}
roles:
  user: ${options.role ?? role}
${listen}${more}`;
  world.gateway = await world.sluice(ROUTES, yaml());
  world.reload = (options) => world.gateway.reload(yaml(options));
  world.open = (transports, auth, options = {}) => {
    const socket = io(world.gateway.url, { transports, auth, forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 100, ...options });
    world.keep(() => socket.disconnect());
    socket.events = [];
    socket.reasons = [];
    socket.errors = [];
    socket.onAny((...event) => socket.events.push(event));
    socket.on('disconnect', (reason) => socket.reasons.push(reason));
    socket.on('connect_error', (error) => socket.errors.push(error.data?.code ?? error.message));
    socket.ask = (...args) => new Promise((resolve) => socket.emit(...args, resolve));
    socket.heard = (name) => socket.events.filter(([event]) => event === name).map(([, value]) => value);
    return socket;
  };
  return world;
}

for (const transports of CARRIERS) {
  const name = transports.join('+');

  test(`${name}: tokens, keys, tickets, and refusals`, async (t) => {
    const world = await start(t);
    const refusal = async (auth, options) => {
      const socket = world.open(transports, auth, options);
      await until(() => socket.errors.length, 'the refusal');
      assert.equal(socket.active, false, 'it does not try again by itself');
      return socket.errors[0];
    };
    assert.equal(await refusal(undefined), 'unauthorized');
    assert.equal(await refusal({ token: 'x' }), 'unauthorized');
    assert.equal(await refusal({ token: 5 }), 'bad_request');
    assert.equal(await refusal({ ticket: 'x' }), 'unauthorized');
    assert.equal(await refusal({ token: token('ann', -10) }), 'expired');
    assert.equal(await refusal({ token: token('ann'), channels: ['secret/x'] }), 'forbidden');
    assert.equal(await refusal({}, { extraHeaders: { Authorization: 'Bearer x' } }), 'unauthorized');
    assert.equal(await refusal({}, { extraHeaders: { Authorization: `Bearer ${token('ann', -10)}` } }), 'expired');
    assert.equal(await refusal({}, { extraHeaders: { Cookie: `session=${token('ann', -10)}` } }), 'expired');

    const who = async (auth, options) => {
      const socket = world.open(transports, auth, options);
      await until(() => socket.heard('welcome').length, () => `welcome: ${socket.errors}`);
      assert.equal((await socket.ask('hello')).subject, socket.heard('welcome')[0].subject);
      assert.equal((await socket.ask('subscribe', 'rooms/a')).status, 'subscribed');
      assert.equal((await socket.ask('subscribe', 'secret/a')).code, 'forbidden');
      assert.equal((await socket.ask('publish', 'secret/a', 1)).code, 'forbidden');
      assert.equal((await socket.ask('publish', 'rooms/a', 1)).status, 'published');
      return socket.heard('welcome')[0].subject;
    };
    assert.equal(await who({ token: token('ann') }), 'ann');
    assert.equal(await who({ token: KEY }), 'kiosk');
    const ticket = async () => (await (await fetch(world.gateway.url + '/ticket', { method: 'POST', headers: { Authorization: `Bearer ${token('bob')}` } })).json()).ticket;
    const used = await ticket();
    assert.equal(await who({ ticket: used }), 'bob');
    assert.equal(await refusal({ ticket: used }), 'unauthorized');
    assert.equal(await who({}, { extraHeaders: { Authorization: `Bearer ${token('header')}` } }), 'header');
    assert.equal(await who({}, { extraHeaders: { Cookie: `a=b; session=${token('cookie')}` } }), 'cookie');
    // What `auth` says wins.
    assert.equal(await who({ token: token('ann') }, { extraHeaders: { Cookie: `session=${token('cookie')}` } }), 'ann');
  });

  test(`${name}: expiry, and a new token in time`, async (t) => {
    const world = await start(t);
    // Expiry ends the transport, not the namespace: the client comes back and asks `auth` again.
    let given = 0;
    const eve = world.open(transports, (done) => done({ token: token('eve', given++ ? 60 : 2) }));
    await until(() => eve.connected, 'the first token');
    assert.equal((await eve.ask('subscribe', 'rooms/a')).status, 'subscribed');
    const max = world.open(transports, { token: token('max', 2) });
    await until(() => max.heard('expiring').length, 'the warning');
    const renewed = await max.ask('hello', { token: token('max') });
    assert.equal(renewed.status, 'hello');
    assert.ok(renewed.expires > Date.now() + 30_000);
    assert.equal((await max.ask('hello', { token: 'x' })).code, 'unauthorized');
    await until(() => given === 2 && eve.connected, () => `the second token: ${eve.reasons}`);
    assert.deepEqual(eve.reasons, ['transport close']);
    assert.equal(eve.heard('expiring').length, 1);
    assert.equal(eve.recovered, true);
    await world.publish('rooms/a', ['7']);
    await until(() => eve.heard('message').some(({ data }) => data === 7), 'what it had subscribed to');
    // By now the old token of the other one has expired, too.
    assert.deepEqual([max.reasons, max.connected], [[], true]);
  });

  test(`${name}: rights that are taken away`, async (t) => {
    const world = await start(t);
    const socket = world.open(transports, { token: token('ann') });
    await until(() => socket.connected, 'the connection');
    assert.equal((await socket.ask('subscribe', ['rooms/a', 'rooms/b'])).status, 'subscribed');
    world.reload({ role: '{ subscribe: [rooms/b], publish: [rooms/b] }' });
    await until(() => socket.heard('unsubscribed').length, 'the loss');
    const [lost] = socket.heard('unsubscribed');
    assert.deepEqual([lost.channel, lost.code], ['rooms/a', 'forbidden']);
    await world.publish('rooms/a', ['1']);
    await world.publish('rooms/b', ['2']);
    await until(() => socket.heard('message').length, 'the other one');
    assert.deepEqual(socket.heard('message').map(({ channel }) => channel), ['rooms/b']);
    assert.equal((await socket.ask('publish', 'rooms/a', 1)).code, 'forbidden');
    assert.deepEqual([socket.reasons, socket.connected], [[], true]);

    // A key that is gone ends the transport; that its next CONNECT is refused is final.
    const kiosk = world.open(transports, { token: KEY });
    await until(() => kiosk.connected, 'the key');
    world.reload({ keys: `    - { name: other, hash: "sha256:${'0'.repeat(64)}", roles: [user] }` });
    await until(() => kiosk.errors.length, () => `the end: ${kiosk.reasons}`);
    // A client that polls hears of it by its poll, or by the refusal of what it posts just then.
    assert.match(kiosk.reasons.join(), name.startsWith('polling') ? /^transport (close|error)$/ : /^transport close$/);
    assert.deepEqual([kiosk.errors[0], kiosk.active], ['unauthorized', false]);
    assert.deepEqual([socket.reasons, socket.connected], [[], true]);
  });

  test(`${name}: what heals ends in no DISCONNECT`, async (t) => {
    const world = await start(t, {
      anonymous: '  anonymous: [user]\n', listen: 'socketio: { ping_interval: 500ms, ping_timeout: 300ms }\n',
      more: 'limits: { message_rate: 3 }\n',
    });
    const healed = async (socket, what, cause) => {
      const before = socket.reasons.length;
      await cause();
      await until(() => socket.reasons.length > before, `the end, ${what}`);
      await until(() => socket.connected, `its return, ${what}: ${socket.errors}`);
      for (const reason of socket.reasons) assert.ok(['transport close', 'transport error', 'ping timeout'].includes(reason), `${what}: ${reason}`);
      assert.equal((await socket.ask('hello')).status, 'hello');
    };
    const socket = world.open(transports, {});
    await until(() => socket.connected, 'the connection');
    await healed(socket, 'a stop', async () => (await world.gateway.stop(), await world.gateway.start()));
    await healed(socket, 'a kill', async () => (await world.gateway.stop('SIGKILL'), await world.gateway.start()));
    await healed(socket, 'a gateway that hangs', async () => {
      world.gateway.child.process.kill('SIGSTOP');
      await until(() => socket.reasons.length >= 3, 'the ping timeout');
      world.gateway.child.process.kill('SIGCONT');
    });
    await healed(socket, 'too many packets', () => {
      for (let i = 0; i < 3000; i++) socket.emit('dance');
    });
  });
}
