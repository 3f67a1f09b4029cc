// The dashboard on a gateway with locked doors. Leaves screenshots in build/screenshots/.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { locks } from './tokens.mjs';
import { browse, Child, ROOT, until, World } from './world.mjs';

const SHOTS = join(ROOT, 'build/screenshots');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ROLES = `  admin: { subscribe: "#", publish: "#" }
  viewer: { subscribe: ["devices/+", "esphome/office/#"], publish: "devices/lamp_kitchen" }
`;
let browser;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  browser = await browse();
});
after(() => browser.close());

/** The demo behind a door. */
async function demo(t, more) {
  const world = new World(t);
  await world.broker();
  world.locks = locks(world, ROLES, more);
  const routes = readFileSync(join(ROOT, 'config/demo.yaml'), 'utf8').split('routes:\n')[1];
  world.gateway = await world.sluice(routes, world.locks.yaml());
  const simulator = new Child('/usr/bin/python3', [join(ROOT, 'docker/simulator/simulator.py'), '--port', String(world.brokerPort)]);
  world.keep(() => simulator.stop());
  const headers = { Authorization: `Bearer ${world.locks.jwt({ sub: 'test', roles: ['admin'] })}` };
  world.count = async () => (await (await fetch(world.gateway.url + '/channels', { headers })).json()).channels.length;
  await until(async () => (await world.count()) > 20, () => simulator.output);
  return world;
}

async function open(world, options = {}, path = '/') {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  world.keep(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.SLUICE_PAGE_TIMEOUT) || 60_000);
  page.faults = [];
  page.addresses = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  // A refusal is a line in the console of every browser; what the page itself gets wrong is not.
  page.on('console', (message) => message.type() === 'error' && !/status of 40[134]/.test(message.text()) && page.faults.push(message.text()));
  page.on('request', (request) => page.addresses.push(request.url()));
  page.on('websocket', (socket) => page.addresses.push(socket.url()));
  await page.goto(world.gateway.url + path);
  return page;
}

const state = (page, name) => page.waitForSelector(`[data-testid=state][data-state=${name}]`);
const rows = (page) => page.locator('#groups li[data-channel]');
/** As the page counts them: only the rows on the screen are in it. */
const counted = async (page) => Number(/^\d+/.exec(await page.getByTestId('count').textContent())?.[0] ?? 0);
async function signIn(page, token) {
  await page.getByLabel('Token or API key').fill(token);
  await page.keyboard.press('Enter');
}

test('signs in with a token, stays signed in over a reload, signs out; the token is nowhere else', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
  assert.equal(await rows(page).count(), 0);

  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({ hasText: 'Paste a token' }).waitFor();
  await signIn(page, 'not a token');
  await page.getByRole('alert').filter({ hasText: 'This is no token' }).waitFor();
  await signIn(page, world.locks.jwt({ sub: 'alice', roles: ['admin'] }) + 'x');
  await page.getByRole('alert').filter({ hasText: 'The gateway does not take this token' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);

  const token = world.locks.jwt({ sub: 'alice@example.org', roles: ['admin'] });
  await signIn(page, token);
  await state(page, 'live');
  await page.getByTestId('sign-in').waitFor({ state: 'hidden' });
  await until(async () => (await counted(page)) >= (await world.count()), 'all channels');
  for (let i = 0; i < 2; i++) {
    await page.getByTestId('account').filter({ hasText: 'alice@example.org' }).waitFor();
    assert.match(await page.getByTestId('account').textContent(), /until .* \((60|59) min left\)/);
    assert.deepEqual(await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]), [[token], [], '']);
    assert.ok(!(await page.content()).includes(token));
    await page.reload();
    await state(page, 'live');
  }
  await page.getByTestId('menu').click();
  for (const transport of ['sse', 'longpoll', 'websocket']) {
    await page.selectOption('[data-testid=transport]', transport);
    await page.waitForSelector(`[data-testid=state][data-state=live][data-transport=${transport}]`);
    await page.getByTestId('account').filter({ hasText: 'alice@example.org' }).waitFor();
  }
  await page.getByTestId('sign-out').click();
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.equal(await rows(page).count(), 0);
  assert.deepEqual(page.addresses.filter((url) => url.includes(token.slice(-20))), []);
  assert.deepEqual(page.faults, []);
});

test('who may see some channels sees those, may publish to some of them, and is told when one is taken away', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await signIn(page, world.locks.key);
  await state(page, 'live');
  await page.getByTestId('account').filter({ hasText: 'kiosk' }).waitFor();
  await page.locator('[data-channel="devices/climate_bedroom"]').waitFor();
  await page.locator('[data-channel="esphome/office/co2"]').waitFor();
  await page.getByTestId('limited').waitFor();
  const names = await page.evaluate(() => [...document.querySelectorAll('[data-channel]')].map((row) => row.dataset.channel));
  assert.ok(names.length > 5);
  assert.deepEqual(names.filter((name) => !/^(devices\/[^/]+$|esphome\/office\/)/.test(name)), []);

  const detail = page.locator('#detail');
  await page.locator('[data-channel="devices/lamp_kitchen"] button').click();
  await detail.getByRole('button', { name: 'ON', exact: true }).click();
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=published]');
  await page.locator('[data-channel="devices/climate_bedroom"] button').click();
  await detail.getByRole('heading', { name: 'devices/climate_bedroom' }).waitFor();
  await detail.locator('.charts canvas').first().waitFor(); // its history is there, and with it the answer whether one may publish
  assert.equal(await detail.locator('.publish').count(), 0);

  world.gateway.reload(world.locks.yaml(`  admin: { subscribe: "#" }\n  viewer: { subscribe: "devices/+" }\n`));
  await page.getByRole('alert').filter({ hasText: 'You may no longer see esphome/office/#' }).waitFor();
  await page.locator('[data-channel="esphome/office/co2"]').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await page.locator('#notice').waitFor({ state: 'hidden' });
  await page.locator('[data-channel="devices/climate_bedroom"]').waitFor();
  assert.deepEqual(page.faults, []);
});

test('a session that ends: pointed out before, and then the form again', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await signIn(page, world.locks.jwt({ sub: 'bob', roles: ['admin'] }, 12));
  await state(page, 'live');
  await page.locator('[data-testid=account].soon').waitFor();
  await page.getByRole('alert').filter({ hasText: 'You were signed out' }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await signIn(page, world.locks.jwt({ sub: 'bob', roles: ['admin'] }));
  await page.getByTestId('account').filter({ hasText: 'bob' }).waitFor();
  await until(async () => (await counted(page)) >= (await world.count()), 'all channels again');
});

test('anonymous clients see what they may, and may sign in for more', async (t) => {
  const world = await demo(t, '  anonymous: [viewer]\n');
  const page = await open(world);
  await page.locator('[data-channel="devices/climate_bedroom"]').waitFor();
  assert.equal(await page.getByTestId('sign-in').isVisible(), false);
  await page.getByTestId('offer-sign-in').click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('[data-channel="devices/climate_bedroom"]').waitFor();
  await page.getByTestId('offer-sign-in').click();
  await signIn(page, world.locks.jwt({ sub: 'alice', roles: ['admin'] }));
  await until(async () => (await counted(page)) >= (await world.count()), 'all channels');
  assert.equal(await page.getByTestId('limited').isVisible(), false);
});

for (const [width, height] of [[390, 844], [1440, 900]]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`accessible and presentable: ${width} px, ${colorScheme}`, async (t) => {
      const world = await demo(t);
      const page = await open(world, { viewport: { width, height }, colorScheme, deviceScaleFactor: width < 500 ? 2 : 1 });
      const check = async (what) => {
        await page.screenshot({ path: join(SHOTS, `${what}-${width}-${colorScheme}.png`) });
        await page.evaluate(AXE); // past the page's policy, as a debugger may
        const { violations, passes } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] }));
        assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`), []);
        assert.ok(passes.length > 15, 'axe has looked');
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
      };
      await page.getByRole('heading', { name: 'Sign in' }).waitFor();
      await check('sign-in');
      await signIn(page, 'wrong');
      await page.getByRole('alert').filter({ hasText: 'The gateway does not take this token' }).waitFor();
      await check('sign-in-refused');
      await signIn(page, world.locks.jwt({ sub: 'alice@example.org', roles: ['viewer'] }));
      await page.locator('[data-channel="devices/climate_bedroom"]').waitFor();
      await page.locator('[data-channel="esphome/office/co2"]').waitFor();
      await page.waitForFunction(() => document.querySelectorAll('#groups .value').length > 3);
      await check('signed-in');
      assert.deepEqual(page.faults, []);
    });
  }
}
