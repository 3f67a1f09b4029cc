// mqtt.js as it is, in Node and in a page whose address alone has changed (issue 17).
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';
import mqtt from 'mqtt';
import mqtt4 from 'mqtt-v4';
import { browse, Child, freePort, ROOT, until, World } from './world.mjs';

const ROUTES = `
  - topic: home/{room}/{kind}
    history: { count: 100 }
    publish: {}
  - topic: seen/{name}
`;
const LIBRARIES = ['mqtt', 'mqtt-v4'].map((name) => readFileSync(`${ROOT}tests/browser/node_modules/${name}/dist/mqtt.min.js`));
// A dashboard as one writes it against a broker's WebSocket listener: nothing in it knows the gateway.
const PAGE = `<!doctype html><title>Home</title><ul id=values></ul><button id=on>on</button><p id=state></p>
<script src="/mqtt.min.js"></script>
<script>
  const { url, options } = JSON.parse(decodeURIComponent(location.hash.slice(1)));
  const log = [], client = mqtt.connect(url, { reconnectPeriod: 200, ...options });
  client.on('connect', () => { state.textContent = 'connected'; });
  client.on('close', () => { state.textContent = 'closed'; });
  client.on('error', (e) => log.push('error ' + (e.code ?? e.message)));
  client.subscribe('home/+/temperature', { qos: 1 }, (e, granted) => log.push('granted ' + (e ? e.message : granted[0].qos)));
  client.on('message', (topic, payload, packet) => {
    log.push(topic + ' ' + payload + (packet.retain ? ' retained' : ''));
    let item = document.getElementById(topic);
    if (!item) { item = document.createElement('li'); item.id = topic; values.append(item); }
    item.textContent = payload;
  });
  on.onclick = () => client.publish('home/kitchen/lamp', 'ON', { qos: 1 }, (e) => log.push('published' + (e ? ' ' + e.message : '')));
</script>`;

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

/** mosquitto with a WebSocket listener of its own, a gateway beside it, and a web server with the page. */
async function start(t, more = '', library = LIBRARIES[0]) {
  const world = new World(t);
  await world.broker();
  world.wsPort = await freePort();
  const other = await freePort();
  const conf = world.file('ws.conf', `listener ${other} 127.0.0.1\nlistener ${world.wsPort} 127.0.0.1\nprotocol websockets\nallow_anonymous true\n` +
    `connection b\naddress 127.0.0.1:${world.brokerPort}\ntopic # both 1\n`);
  const bridge = new Child('/usr/sbin/mosquitto', ['-c', conf]);
  world.keep(() => bridge.stop());
  const server = http.createServer((request, answer) => request.url === '/mqtt.min.js'
    ? answer.writeHead(200, { 'Content-Type': 'text/javascript' }).end(library)
    : answer.writeHead(200, { 'Content-Type': 'text/html' }).end(PAGE));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.keep(() => new Promise((resolve) => (server.close(resolve), server.closeAllConnections())));
  world.page = `http://127.0.0.1:${server.address().port}/`;
  world.gateway = await world.sluice(ROUTES, `mqtt: { path: /mqtt, names: channels }\nweb: { origins: ["http://127.0.0.1:${server.address().port}"] }\n${more}`);
  world.url = `ws://127.0.0.1:${world.gateway.port}/mqtt`;
  return world;
}

async function open(world, url, options = {}) {
  const context = await browser.newContext();
  world.keep(() => context.close());
  const page = await context.newPage();
  await page.goto(world.page + '#' + encodeURIComponent(JSON.stringify({ url, options })));
  page.log = () => page.evaluate('log');
  return page;
}

/** A device beside: what it was told. */
function device(world, topic) {
  const child = new Child('mosquitto_sub', ['-p', String(world.brokerPort), '-t', topic, '-q', '1', '-v']);
  world.keep(() => child.stop());
  return child;
}

for (const [index, library] of LIBRARIES.entries()) {
  test(`a page of the broker is a page of the gateway when its address is, mqtt.js ${5 - index}`, async (t) => {
    const world = await start(t, '', library);
    await world.publish('home/kitchen/temperature', ['21.5'], { retain: true });
    const logs = [];
    for (const url of [`ws://127.0.0.1:${world.wsPort}`, world.url]) {
      const lamp = device(world, 'home/+/lamp');
      const page = await open(world, url);
      await until(async () => (await page.log()).some((line) => line.startsWith('home/kitchen/temperature 21.5')), async () => url + JSON.stringify(await page.log()));
      await world.publish('home/bath/temperature', ['24']);
      await until(async () => (await page.log()).some((line) => line.startsWith('home/bath/temperature 24')), async () => JSON.stringify(await page.log()));
      await until(async () => (await page.click('#on'), lamp.output.includes('home/kitchen/lamp ON')), 'the lamp');
      await until(async () => (await page.log()).includes('published'), 'the acknowledgement');
      assert.deepEqual(await page.evaluate('[...values.children].map((item) => item.id + " " + item.textContent).sort()'),
        ['home/bath/temperature 24', 'home/kitchen/temperature 21.5']);
      logs.push([...new Set(await page.log())].filter((line) => !line.startsWith('home/bath')).sort());
    }
    assert.deepEqual(logs[1], logs[0]);
    assert.ok(logs[1].includes('home/kitchen/temperature 21.5 retained'));
  });
}

test('a page comes back after the gateway was away', async (t) => {
  const world = await start(t);
  const page = await open(world, world.url);
  await until(async () => (await page.log()).includes('granted 1'), 'the subscription');
  await world.gateway.stop();
  await until(() => page.evaluate('state.textContent === "closed"'), 'the end');
  await world.gateway.start();
  await until(async () => (await world.publish('home/kitchen/temperature', ['7']), (await page.log()).some((line) => line.startsWith('home/kitchen/temperature 7'))), 'a value');
});

const secret = randomBytes(32).toString('hex');
const b64 = (data) => Buffer.from(data).toString('base64url');
const token = (claims) => {
  const body = `${b64('{"alg":"HS256"}')}.${b64(JSON.stringify({ exp: Math.floor(Date.now() / 1000) + 600, ...claims }))}`;
  return `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`;
};
const doors = (world) => `auth:\n  jwt: { secret_file: ${world.file('secret', secret)} }\n  cookie: session\n` +
  `roles:\n  viewer: { subscribe: "home/+/temperature" }\n  owner: { subscribe: "#", publish: "#" }\n`;

test('a page with a token, and one with the cookie of its site', async (t) => {
  const real = await start(t);
  const config = `mqtt: {}\nweb: { origins: ["${new URL(real.page).origin}"] }\n${doors(real)}`;
  const gateway = await real.sluice(ROUTES, config);
  const url = `ws://127.0.0.1:${gateway.port}/mqtt`;
  await real.publish('home/kitchen/temperature', ['21.5']);
  const page = await open(real, url, { username: 'whoever', password: token({ sub: 'ann', roles: ['viewer'] }) });
  await until(async () => (await page.log()).includes('granted 1'), async () => JSON.stringify(await page.log()));

  const stranger = await open(real, url, { protocolVersion: 5 });
  await until(async () => (await stranger.log()).includes('error 135'), async () => JSON.stringify(await stranger.log()));

  const context = await browser.newContext();
  real.keep(() => context.close());
  await context.addCookies([{ name: 'session', value: token({ sub: 'bob', roles: ['viewer'] }), domain: '127.0.0.1', path: '/' }]);
  const cookied = await context.newPage();
  await cookied.goto(real.page + '#' + encodeURIComponent(JSON.stringify({ url, options: {} })));
  await until(async () => (await cookied.evaluate('log')).includes('granted 1'), async () => JSON.stringify(await cookied.evaluate('log')));
});

for (const protocolVersion of [4, 5]) {
  const connect = (world, options = {}) => {
    const client = mqtt.connect(world.url, { protocolVersion, reconnectPeriod: 0, ...options });
    client.got = [];
    client.on('message', (topic, payload, packet) => client.got.push({ topic, payload: payload.toString(), retain: packet.retain, qos: packet.qos, properties: packet.properties }));
    client.on('error', (error) => (client.refused = error));
    world.keep(() => client.endAsync(true));
    return client;
  };

  test(`mqtt.js in Node, protocol version ${protocolVersion}`, async (t) => {
    const world = await start(t);
    await world.publish('home/kitchen/temperature', ['1']);
    const lamp = device(world, 'home/+/lamp');
    const client = connect(world);
    const granted = await client.subscribeAsync({ 'home/+/temperature': { qos: 2 }, 'seen/+': { qos: 0 } });
    assert.deepEqual(granted.map(({ topic, qos }) => [topic, qos]), [['home/+/temperature', 1], ['seen/+', 0]]);
    await until(() => client.got.length === 1, 'the last value');
    assert.deepEqual([client.got[0].payload, client.got[0].retain], ['1', true]);
    for (let i = 0; i < 300; i++) client.publish('home/kitchen/temperature', String(i), { qos: i % 3 });
    await until(() => client.got.length === 301, () => `all messages, got ${client.got.length}`);
    assert.deepEqual(client.got.slice(1).map(({ payload }) => Number(payload)).sort((a, b) => a - b), Array.from({ length: 300 }, (_, i) => i));
    await Promise.all(Array.from({ length: 200 }, (_, i) => client.publishAsync('home/hall/lamp', String(i), { qos: 1 + (i % 2) })));
    await until(() => lamp.output.split('\n').length >= 200, 'the lamp');
    await client.unsubscribeAsync('home/+/temperature');
    if (protocolVersion === 5) {
      const error = await client.publishAsync('seen/x', 'x', { qos: 1 }).catch((e) => e);
      assert.equal(error.code, 0x87);
      assert.match(String(error.packet?.properties?.reasonString ?? 'forbidden: '), /^forbidden: /);
    }
    assert.ok(client.connected);
  });

  test(`roles and refusals, protocol version ${protocolVersion}`, async (t) => {
    const world = await start(t);
    const gateway = await world.sluice(ROUTES, `mqtt: {}\n${doors(world)}`);
    world.url = `ws://127.0.0.1:${gateway.port}/mqtt`;
    const wrong = connect(world, { username: 'u', password: 'p' });
    await until(() => wrong.refused, 'the refusal');
    assert.equal(wrong.refused.code, protocolVersion === 5 ? 0x86 : 4);
    const nobody = connect(world);
    await until(() => nobody.refused, 'the refusal');
    assert.equal(nobody.refused.code, protocolVersion === 5 ? 0x87 : 5);
    const viewer = connect(world, { username: 'u', password: token({ sub: 'ann', roles: ['viewer'] }) });
    const error = await viewer.subscribeAsync('home/#').catch((e) => e);
    const codes = error instanceof Error ? [error.code ?? 0x87] : error.map(({ qos }) => qos);
    assert.ok([0x80, 0x87].includes(codes[0]), JSON.stringify(codes));
    assert.equal((await viewer.subscribeAsync('home/+/temperature'))[0].qos, 0);
  });
}

for (const protocolVersion of [3, 4, 5]) {
  test(`mqtt.js 4 in Node, protocol version ${protocolVersion}`, async (t) => {
    const world = await start(t);
    await world.publish('home/kitchen/temperature', ['1']);
    const lamp = device(world, 'home/+/lamp');
    // A stored message says that it has subscribed.
    await world.publish('home/attic/lamp', ['ready'], { retain: true });
    await until(() => lamp.output.includes('ready'), 'the lamp');
    const old = protocolVersion === 3 ? { protocolId: 'MQIsdp' } : {};
    const client = mqtt4.connect(world.url, { protocolVersion, reconnectPeriod: 0, clientId: `four${protocolVersion}`, clean: false, ...old,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}) });
    world.keep(() => new Promise((resolve) => client.end(true, resolve)));
    const got = [], call = (name, ...args) => new Promise((resolve, reject) => client[name](...args, (error, value) => (error ? reject(error) : resolve(value))));
    client.on('message', (topic, payload, packet) => got.push(`${payload} ${packet.qos} ${packet.retain}`));
    assert.equal((await call('subscribe', 'home/+/temperature', { qos: 2 }))[0].qos, 1);
    await until(() => got.length === 1, 'the last value');
    await Promise.all(Array.from({ length: 50 }, (_, i) => call('publish', 'home/hall/lamp', String(i), { qos: i % 3 })));
    await until(() => lamp.output.match(/^home\/hall\/lamp/gm)?.length === 50, 'every command');
    await new Promise((resolve) => (client.once('close', resolve), client.stream.destroy()));
    for (let i = 2; i < 5; i++)
      await world.publish('home/kitchen/temperature', [String(i)]);
    client.reconnect();
    await until(() => got.length === 4, () => `what was missed: ${got}`);
    assert.deepEqual(got.map((text) => text.split(' ')[0]), ['1', '2', '3', '4']);
  });
}
