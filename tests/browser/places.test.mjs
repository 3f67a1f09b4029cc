// Where pages come from and where the gateway is: prefixes, other origins, frames, scripts, servers; what publish() takes.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { Sluice } from '../../client/dist/sluice-client.js';
import { browse, freePort, nginx, ROOT, until, World } from './world.mjs';

const ROUTES = `
  - topic: n/#
    history: { count: 1000 }
    publish: {}
  - topic: keep/{id}
    publish: { retain: true }
  - topic: raw/{id}
    codec: base64
    publish: {}
  - topic: number/{id}
    codec: number
    publish: {}
`;
const UPGRADE = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;';
let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

async function start(t, more) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES, more);
  return world;
}

/** A web server of ours on another port: path -> HTML, or a function. */
async function site(world, files) {
  const port = await freePort();
  const server = http.createServer((request, answer) => {
    const body = files[new URL(request.url, 'http://x').pathname] ?? files['*'];
    if (typeof body === 'function') return body(request, answer);
    answer.writeHead(body === undefined ? 404 : 200, { 'Content-Type': 'text/html' }).end(body);
  }).listen(port, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  world.keep(() => (server.closeAllConnections(), new Promise((resolve) => server.close(resolve))));
  return { port, url: `http://127.0.0.1:${port}` };
}

async function tab(world, options) {
  const context = await browser.newContext(options);
  world.keep(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.said = [];
  page.on('console', (message) => page.said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => page.said.push(`pageerror: ${error}`));
  return page;
}

for (const [how, more, location] of [
  ['a prefix that nginx strips', '', (port) => `location /iot/sluice/ { proxy_pass http://127.0.0.1:${port}/;`],
  ['a prefix that is passed on', 'web: { base_path: /iot/sluice }', (port) => `location /iot/sluice { proxy_pass http://127.0.0.1:${port};`],
]) {
  test(`dashboard and client below ${how}`, async (t) => {
    const world = new World(t);
    await world.broker();
    const gateway = await world.sluice(ROUTES, more, more ? '/iot/sluice' : '');
    const front = await nginx(world, gateway.port, `return 404; } ${location(gateway.port)} proxy_http_version 1.1; proxy_set_header Host $http_host; ${UPGRADE}`);
    await world.publish('n/kitchen', [21]);
    const page = await tab(world);
    await page.goto(front.url + '/iot/sluice/');
    await until(() => page.getByText('kitchen').first().isVisible(), 'the channel in the dashboard');
    await until(() => page.evaluate("document.querySelector('[data-testid=state]').textContent.includes('WebSocket')"), 'its WebSocket');
    await page.getByText('kitchen').first().click();
    await page.waitForSelector('#detail:not([hidden])');
    assert.equal((await page.evaluate("getComputedStyle(document.querySelector('.columns')).display")), 'grid', 'its style sheet');
    assert.deepEqual(page.said.filter((line) => /error/i.test(line)), []);
    // The client of the same place, over every transport; the script's address says where the gateway is.
    await page.goto(front.url + '/iot/sluice/healthz');
    await page.addScriptTag({ url: '/iot/sluice/client.js' });
    for (const transport of ['websocket', 'sse', 'longpoll']) {
      assert.equal(await page.evaluate(`(async () => {
        const sluice = new Sluice('', { transports: ['${transport}'] });
        const value = await new Promise((resolve) => sluice.subscribe('n/kitchen', (m) => resolve(m.data)));
        await sluice.publish('n/other', value);
        sluice.close();
        return value;
      })()`), 21, transport);
    }
  });
}

test('where new Sluice() looks for the gateway', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [7]);
  const { url, port } = world.gateway;
  const script = (src, after = '') => `<!doctype html><script src="${src}"></script><script>
    sluice = new Sluice(); sluice.subscribe('n/a', (m) => (window.got = m.data)); ${after}</script>`;
  const elsewhere = await site(world, {
    '/gateway': script(`${url}/client.js`),
    '/module': `<!doctype html><script type="module">import Sluice, { SluiceError } from '${url}/client.mjs';
      new Sluice().subscribe('n/a', (m) => (window.got = m.data)); window.error = SluiceError.name.length;</script>`,
    '/worker': `<!doctype html><script>
      const code = "importScripts('${url}/client.js'); new Sluice('${url}').subscribe('n/a', (m) => postMessage(m.data))";
      new Worker(URL.createObjectURL(new Blob([code]))).onmessage = (e) => (window.got = e.data)</script>`,
  });
  world.gateway.reload(`web: { origins: ["${elsewhere.url}"] }`);
  await until(async () => (await fetch(url + '/channels', { headers: { Origin: elsewhere.url } })).ok, 'the reload');
  const page = await tab(world);
  for (const path of ['/gateway', '/module', '/worker']) {
    await page.goto(elsewhere.url + path);
    await until(() => page.evaluate('window.got === 7'), () => path + page.said.join());
  }
  // One origin for pages and gateway, and a deep address of an application: the root is asked, not /app/rooms/ws.
  const files = {
    '/app/rooms/3': script('/client.js'),
    '/app/copy': script('/static/dist/client.js'),
    '/app/based': '<!doctype html><base href="/app/">' + script('/client.js').slice(15),
    '/app/relative': `<!doctype html><base href="/deep/"><script src="/client.js"></script><script>
      sluice = new Sluice('../'); sluice.subscribe('n/a', (m) => (window.got = m.data))</script>`,
    '/static/dist/client.js': async (_, answer) => answer.end(await (await fetch(url + '/client.js')).text()),
  };
  const pages = await site(world, files);
  const front = await nginx(world, port, `${UPGRADE} } location /app/ { proxy_pass ${pages.url}; } location /static/ { proxy_pass ${pages.url};`);
  for (const path of Object.keys(files).slice(0, 4)) {
    await page.goto(front.url + path);
    await until(() => page.evaluate('window.got === 7'), () => path + page.said.join());
  }
});

test('on a server new Sluice() does nothing, and says so where it matters', async () => {
  const code = `import { Sluice } from '${ROOT}client/dist/sluice-client.js';
    for (const url of ['', '/sluice', undefined]) {
      const sluice = new Sluice(url);
      sluice.subscribe('a', () => {}).off();
      sluice.subscribe('b', () => {});
      sluice.use(['sse']); sluice.setToken('x'); sluice.refresh();
      const why = await sluice.publish('a', 1).catch((error) => error.code);
      console.log(sluice.state, why);
    }`;
  const said = execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8', timeout: 20_000 });
  assert.equal(said, 'closed closed\n'.repeat(3)); // and the process ends by itself
  for (const url of ['gateway:8080', 'localhost:8080', 'file:///x', 'mqtt://broker'])
    assert.throws(() => new Sluice(url), /is no address of a gateway, such as http:\/\/gateway:8080/, url);
});

test('a page of another origin that is not listed is told what to do', async (t) => {
  const world = await start(t);
  const { url } = world.gateway;
  const elsewhere = await site(world, { '/': `<!doctype html><script src="${url}/client.js"></script><script>
    errors = []; got = [];
    listen = (how) => { window.sluice = new Sluice('${url}', how); sluice.on('error', (e) => errors.push(e.code + ' ' + e.message)); sluice.subscribe('n/a', (m) => got.push(m.data)); }
    quiet = () => { window.sluice = new Sluice('${url}'); sluice.subscribe('n/a', (m) => got.push(m.data)); }</script>` });
  const line = `web: { origins: ["${elsewhere.url}"] }`;
  for (const how of ['listen()', "listen({ transports: ['websocket'] })", 'quiet()']) {
    const page = await tab(world);
    await page.goto(elsewhere.url + '/');
    await page.evaluate(how);
    const warnings = () => page.said.filter((text) => text.startsWith('warning: sluice:'));
    await until(() => warnings().length, 'the line in the console');
    assert.ok(warnings()[0].includes(line), warnings()[0]);
    if (how !== 'quiet()') assert.ok((await page.evaluate('errors'))[0].startsWith('unreachable ') && (await page.evaluate('errors'))[0].includes(line));
    await until(() => page.said.filter((text) => /WebSocket connection to|Failed to load resource/.test(text)).length > (how.includes('[') ? 2 : 6), () => page.said.join('\n'));
    assert.equal(warnings().length, 1);
    await page.close();
  }
  assert.ok(world.gateway.child.output.includes(line.replaceAll('"', '\\"')), world.gateway.child.output);
  // With the line in the file it works, without loading the page anew.
  const page = await tab(world);
  await page.goto(elsewhere.url + '/');
  await page.evaluate('listen()');
  await until(() => page.evaluate('errors.length'));
  await world.publish('n/a', [1]);
  world.gateway.reload(line);
  await until(() => page.evaluate('got.length'), () => page.said.join('\n'));
});

test('what is refused is told in the console where nobody listens', async (t) => {
  const world = await start(t);
  const page = await tab(world);
  await page.goto(world.gateway.url + '/healthz');
  await page.addScriptTag({ url: '/client.js' });
  const warnings = () => page.said.filter((text) => text.startsWith('warning: sluice:'));
  await page.evaluate("new Sluice().subscribe('nowhere/a', () => {})");
  await until(() => warnings().length);
  assert.match(warnings()[0], /sluice: unknown_channel nowhere\/a/);
  await page.evaluate(`heard = [];
    one = new Sluice(); one.on('error', (e) => heard.push(e.channel)); one.subscribe('nowhere/b', () => {});
    new Sluice().subscribe('nowhere/c', () => {}, { error: (e) => heard.push(e.channel) });`);
  await until(() => page.evaluate('heard.length === 2'));
  assert.equal(warnings().length, 1);
});

test('the dashboard in a frame, where it may', async (t) => {
  const world = await start(t);
  await world.publish('n/a', [1]);
  const { url } = world.gateway;
  const home = await site(world, { '/': `<!doctype html><iframe src="${url}/" width="900" height="600"></iframe>` });
  const page = await tab(world);
  const shown = () => page.frames().some((frame) => frame.url() === url + '/');
  await page.goto(home.url);
  await until(() => page.said.some((line) => /frame-ancestors|X-Frame-Options/i.test(line)), 'the refusal');
  world.gateway.reload(`web: { frame_ancestors: ["${home.url}"] }`);
  await until(async () => (await fetch(url)).headers.get('content-security-policy').includes(home.url), 'the reload');
  await page.goto(home.url);
  await until(shown, 'the frame');
  const frame = page.frames().find((one) => one.url() === url + '/');
  await until(() => frame.evaluate("document.querySelector('[data-testid=state]').textContent.includes('Live')"), 'the dashboard');
  // Browsers that block storage in frames of other sites throw at the mention of it.
  const strict = await tab(world);
  await strict.addInitScript(`for (const name of ['localStorage', 'sessionStorage'])
    Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError'); } });`);
  await strict.goto(home.url);
  await until(() => strict.frames()[1]?.evaluate("document.querySelector('[data-testid=state]').textContent.includes('Live')").catch(() => false), () => strict.said.join('\n'));
});

test('cookies of another origin, where the page asks for them', async (t) => {
  const world = new World(t);
  await world.broker();
  const key = execFileSync(process.env.SLUICE_BINARY || ROOT + 'build/release/sluice', ['apikey'], { encoding: 'utf8' });
  const [, secret, hash] = /key: +(\S+)\nhash: +(\S+)/.exec(key);
  const more = (origins) => `auth: { cookie: session, api_keys: [{ name: page, hash: "${hash}", roles: page }] }
roles: { page: { subscribe: "#", publish: "#" } }
web: { origins: ["${origins}"] }`;
  const gateway = await world.sluice(ROUTES, more('https://nobody.example'));
  const elsewhere = await site(world, { '/': `<!doctype html><script src="${gateway.url}/client.js"></script>` });
  await world.publish('n/a', [5]);
  const context = await browser.newContext();
  world.keep(() => context.close());
  await context.addCookies([{ name: 'session', value: secret, url: gateway.url, sameSite: 'Lax' }]); // one site, two origins
  const page = await context.newPage();
  const said = [];
  page.on('console', (message) => said.push(message.text()));
  await page.goto(elsewhere.url);
  const value = (options) => page.evaluate(`(async () => {
    const sluice = new Sluice('${gateway.url}', ${options});
    const value = await Promise.race([new Promise((resolve) => sluice.subscribe('n/a', (m) => resolve(m.data))),
      new Promise((resolve) => sluice.on('error', (e) => resolve(e.code)))]);
    const how = value === 5 && (await sluice.publish('n/b', 1));
    sluice.close();
    return value + ' ' + how;
  })()`);
  gateway.reload(more(elsewhere.url));
  await until(async () => (await fetch(gateway.url + '/channels', { headers: { Origin: elsewhere.url } })).headers.get('access-control-allow-credentials'), 'the reload');
  for (const transport of ['sse', 'longpoll']) {
    assert.equal(await value(`{ transports: ['${transport}'], credentials: 'include' }`), '5 published', transport + said.join('\n'));
    assert.equal(await value(`{ transports: ['${transport}'] }`), 'unauthorized false', transport);
  }
  // A page that is one of many by a wildcard does not get to use them.
  gateway.reload(more('http://127.0.0.1:*'));
  await until(async () => (await fetch(gateway.url + '/channels', { headers: { Origin: elsewhere.url } })).headers.get('access-control-allow-origin') === '*', 'the reload');
  assert.equal(await value("{ transports: ['sse'], credentials: 'include' }"), 'unreachable false');
});

const nothing = () => {};
const circle = {};
circle.self = circle;
const BAD = {
  NaN, Infinity, '-Infinity': -Infinity, undefined, 'a function': nothing, 'a symbol': Symbol('x'), 'a BigInt': 10n, 'a circle': circle,
  'NaN in an object': { t: NaN }, 'Infinity in a list': [1, Infinity], 'a BigInt in an object': { n: 1n }, 'undefined in a list': [undefined],
  'a function in an object': { f: nothing }, 'a Map': new Map([[1, 2]]), 'a Set': new Set([1]), 'a promise': Promise.resolve(1), 'a Date that is none': new Date(NaN),
  'bytes in an object': { bytes: new Uint8Array(2) }, 'a buffer in a list': [new ArrayBuffer(2)], 'a Blob': new Blob(['x']), 'an error': new Error('x'),
  'a regular expression': /x/, 'a boxed NaN': new Number(NaN), 'a WeakMap': new WeakMap(), 'a URLSearchParams': new URLSearchParams('a=1'),
};
class Reading { constructor() { this.t = 21.5; } }
const GOOD = [
  [0, 0], [-0, 0], ['', null], ['ON', 'ON'], [true, true], [null, null], [[], []], [{}, {}], [{ a: undefined, b: 1 }, { b: 1 }], [new Date(0), '1970-01-01T00:00:00.000Z'],
  [new Reading(), { t: 21.5 }], [Object.create(null, { x: { value: 1, enumerable: true } }), { x: 1 }], [new String('s'), 's'], [{ toJSON: () => 4 }, 4], [1e21, 1e21],
  [{ __proto__: null, deep: [[[{ a: '\u2028\ud83d\ude00' }]]] }, { deep: [[[{ a: '\u2028\ud83d\ude00' }]]] }],
];
for (const transport of ['websocket', 'sse', 'longpoll']) {
  test(`${transport}: publish() sends what was meant, or refuses it`, async (t) => {
    const world = await start(t);
    const client = new Sluice(world.gateway.url, { WebSocket, transports: [transport] });
    world.keep(() => client.close());
    const got = [];
    client.subscribe('n/x', (message) => got.push(message.data));
    client.subscribe('raw/x', (message) => got.push(message.data));
    client.subscribe('keep/x', (message) => got.push(message.data));
    await until(() => client.state === 'live');
    await until(async () => (await client.publish('n/x', 'ready'), got.includes('ready')), 'the subscription');
    await client.publish('keep/x', 'kept');
    await until(() => got.includes('kept'));
    for (const [name, value] of Object.entries(BAD)) {
      for (const channel of ['n/x', 'keep/x'])
        await assert.rejects(client.publish(channel, value), (error) => error.code === 'bad_request' && error.message.length > 10, name);
      await assert.rejects(client.request('n/x', value), { code: 'bad_request' }, name);
    }
    assert.deepEqual(got.filter((data) => data !== 'ready'), ['kept'], 'nothing was sent of it');
    for (const [value, data] of GOOD) {
      got.length = 0;
      assert.equal(await client.publish('n/x', value), 'published');
      await until(() => got.length, JSON.stringify(data));
      assert.deepEqual(got, [data]);
    }
    // Bytes are the payload itself, whatever the codec; a view is what it shows, not its whole buffer.
    const whole = new Uint8Array([9, 0, 255, 128, 9]);
    for (const bytes of [whole.subarray(1, 4), whole.slice(1, 4).buffer, new DataView(whole.buffer, 1, 3), Buffer.from([0, 255, 128])]) {
      for (const [channel, data] of [['n/x', { base64: 'AP+A' }], ['raw/x', 'AP+A']]) {
        got.length = 0;
        const sent = client.publish(channel, bytes);
        if (bytes === whole) bytes.fill(1);
        assert.equal(await sent, 'published');
        await until(() => got.length);
        assert.deepEqual(got, [data]);
      }
    }
    await assert.rejects(client.publish('number/x', new Uint8Array([65])), { code: 'bad_request' }); // the codec's own word
    assert.equal(await client.publish('number/x', new TextEncoder().encode('21.5')), 'published');
  });
}

test('what waits is what it was when it was published', async (t) => {
  const world = await start(t);
  const client = new Sluice(world.gateway.url, { WebSocket, offline: 'queue' });
  world.keep(() => client.close());
  const value = { n: 1 }, bytes = new Uint8Array([49]);
  const sent = Promise.all([client.publish('n/object', value), client.publish('n/bytes', bytes)]);
  value.n = 2;
  bytes[0] = 50;
  assert.deepEqual(await sent, ['published', 'published']);
  const data = async (channel) => (await (await fetch(`${world.gateway.url}/channels/${channel}`)).json()).data;
  await until(async () => (await data('n/bytes')) === 1);
  assert.deepEqual(await data('n/object'), { n: 1 });
});
