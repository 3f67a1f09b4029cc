// The dashboard at /, as an operator uses it. Leaves screenshots in build/screenshots/.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cell, counts, demo, open as openIn } from './demo.mjs';
import { browse, Child, ROOT, until } from './world.mjs';

const SHOTS = join(ROOT, 'build/screenshots');
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let browser;
before(async () => {
  mkdirSync(SHOTS, { recursive: true });
  browser = await browse();
});
after(() => browser.close());
const open = (world, options, path) => openIn(browser, world, options, path);

test('paints at once, and values, ages and rates move', async (t) => {
  const world = await demo(t);
  await world.publish('plain/a', [1]);
  const page = await open(world);
  await page.waitForFunction(() => document.querySelector('[data-channel="plain/a"] .value')?.textContent === '1');
  assert.match(await page.locator('#count').textContent(), /^\d+ channels$/);
  await page.getByTestId('menu').click();
  for (const transport of ['sse', 'longpoll', 'websocket']) {
    await page.selectOption('[data-testid=transport]', transport);
    await page.waitForSelector(`[data-testid=state][data-state=live][data-transport=${transport}]`);
    await world.publish('plain/a', [transport]);
    await cell(page, 'plain/a', 'value').filter({ hasText: transport }).waitFor();
  }
  await page.waitForFunction(() => /\/min|\/s/.test(document.querySelector('[data-channel="esphome/office/co2"] .rate').textContent));
  await page.waitForFunction(() => /\d s|now/.test(document.querySelector('[data-channel="plain/a"] .age').textContent));
  assert.deepEqual(page.faults, []);
});

test('filters by part of a name and by MQTT filter', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  const shown = async () => (await counts(page))[0];
  const all = async () => (await (await fetch(world.gateway.url + '/channels')).json()).channels.length; // more may still come
  await until(async () => (await shown()) === (await all()), 'all rows');
  await page.keyboard.press('/');
  await page.keyboard.type('CLIMATE');
  await until(async () => (await shown()) === 4 && (await page.locator('li[data-channel]').count()) === 4, 'four rows');
  assert.match(page.url(), /#\/\?filter=CLIMATE$/); // a link to it shows the same
  await page.reload();
  await until(async () => (await shown()) === 4, 'four rows after a reload');
  await page.getByTestId('filter').focus();
  await page.keyboard.press('Escape');
  await until(async () => (await shown()) === (await all()), 'all rows again');
  await page.getByTestId('filter').fill('esphome/+/co2');
  await until(async () => (await shown()) === 2, 'two rows');
  await page.getByTestId('filter').fill('no such thing');
  await page.getByText('No channel matches').waitFor();
  await page.getByTestId('clear-filter').click();
  await until(async () => (await shown()) === (await all()), 'all rows after clearing');
});

test('the detail: fields, chart from history and live, publishing with its stages', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await page.locator('[data-channel="devices/climate_bedroom"] button').click();
  const detail = page.locator('#detail');
  await detail.getByRole('heading', { name: 'devices/climate_bedroom' }).waitFor();
  await detail.locator('.charts canvas').first().waitFor();
  await detail.getByRole('button', { name: 'Chart humidity' }).click();
  await detail.locator('.u-legend .u-label', { hasText: 'humidity' }).waitFor();
  assert.equal(await detail.getByRole('button', { name: 'Chart humidity' }).getAttribute('aria-pressed'), 'true');

  // A lamp: its quick buttons, its answer through the broker.
  await page.goto(world.gateway.url + '/#/channels/devices%2Flamp_kitchen');
  await detail.getByRole('heading', { name: 'devices/lamp_kitchen' }).waitFor();
  await detail.getByRole('button', { name: 'ON', exact: true }).click();
  const result = detail.getByTestId('publish-result');
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=published]');
  assert.match(await result.textContent(), /acknowledged by the broker, \d+ ms/);
  await cell(page, 'devices/lamp_kitchen', 'value').locator('.pill.on', { hasText: 'ON' }).waitFor();
  await detail.getByTestId('publish-text').fill('{"brightness": 77}');
  await detail.getByTestId('publish-request').click();
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=response]');
  assert.match(await result.textContent(), /"brightness": 77/);

  // What its state shows is what was sent.
  await detail.getByTestId('publish-text').fill('{"brightness": 78}');
  await detail.getByTestId('publish-confirm').click();
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=confirmed]');
  await detail.getByTestId('publish-text').fill('{"state": "TOGGLE", "brightness": 1000}'); // a toggle shows as something else
  await detail.getByTestId('publish-confirm').click();
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=error]');
  assert.match(await result.textContent(), /Not confirmed.*"state"/s);

  // Elsewhere: QoS 0, and where it is forbidden.
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Publish…' }).click();
  const dialog = page.locator('#dialog');
  for (const [channel, stage, text] of [['once/x', 'accepted', /QoS 0/], ['plain/x', 'error', /may not publish here/], ['', 'error', /Name a channel/]]) {
    await dialog.getByLabel('Channel').fill(channel);
    await dialog.getByTestId('publish-text').fill('1');
    await dialog.getByTestId('publish-send').click();
    await page.waitForSelector(`#dialog [data-testid=publish-result][data-stage=${stage}]`);
    await until(async () => text.test(await dialog.getByTestId('publish-result').textContent()), String(text));
  }
  assert.deepEqual(page.faults, []);
});

test('says when the broker is away and when the gateway is, and comes back', async (t) => {
  const world = await demo(t);
  await world.publish('plain/kept', [1], { retain: true });
  const page = await open(world);
  await world.stopBroker();
  await page.waitForSelector('[data-testid=upstream]:not([hidden])');
  await world.startBroker();
  await page.waitForSelector('[data-testid=upstream]', { state: 'hidden' });
  await world.gateway.stop('SIGKILL');
  await page.waitForSelector('#gateway:not([hidden])');
  await world.gateway.start();
  await page.waitForSelector('[data-testid=state][data-state=live]');
  await page.waitForSelector('#gateway', { state: 'hidden' });
  await page.locator('#gaps', { hasText: /gap/ }).waitFor(); // another run of the gateway: told, not silent
  await world.publish('plain/kept', [2]);
  await cell(page, 'plain/kept', 'value').filter({ hasText: '2' }).waitFor();
});

test('rubbish is shown as what it is', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  const long = 'x'.repeat(30_000);
  for (const [topic, payload, expected] of [
    ['plain/html', '<img src=x onerror=alert(1)>', '<img src=x'], ['plain/long', long, 'xxxx'], ['plain/deep', '['.repeat(200) + ']'.repeat(200), '[[['],
    ['plain/ünï cödé', '"☃"', '☃'], ['plain/zero', '0', '0'], ['plain/huge', '1e300', '1.000e+300'], ['plain/false', 'false', 'false'],
    ['plain//empty//levels', '1', '1'], ['plain/__proto__', '{"__proto__":1,"constructor":2}', '1']]) {
    await world.publish(topic, [payload]);
    await cell(page, topic, 'value').filter({ hasText: expected }).waitFor();
    await page.locator(`[data-channel="${topic}"] button`).click();
    await page.locator('#detail').getByRole('heading', { name: topic, exact: true }).waitFor();
  }
  await world.publish('plain/zero', ['']); // an empty payload
  await cell(page, 'plain/zero', 'value').filter({ hasText: 'cleared' }).waitFor();
  await world.publish('plain/zero', ['null']); // a value of four letters clears nothing
  await cell(page, 'plain/zero', 'value').filter({ hasText: 'null' }).waitFor();
  assert.deepEqual(page.faults, []);
});

/** Publishes n last values at plain/many/GROUP/I, quickly. */
async function many(world, n, group = 1000) {
  const child = new Child('/usr/bin/python3', ['-c', `
import paho.mqtt.client as m
c = m.Client(**({"callback_api_version": m.CallbackAPIVersion.VERSION1} if hasattr(m, "CallbackAPIVersion") else {}))
c.max_queued_messages_set(0); c.max_inflight_messages_set(1000)
c.connect("127.0.0.1", ${world.brokerPort}); c.loop_start()
for i in range(${n}):
    x = c.publish(f"plain/many/{i // ${group}}/{i % ${group}}", i, 1)
x.wait_for_publish(); c.disconnect()`]);
  await child.ended;
  assert.equal(child.output, '');
}

test('ten thousand channels: all counted, few in the page, any of them found, by keyboard to the last', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await many(world, 10_000);
  await until(async () => (await counts(page))[1] >= 10_000, async () => (await counts(page)).join());
  const inPage = () => page.locator('#groups > li').count();
  assert.ok((await inPage()) < 80, `${await inPage()} rows in the page`);

  // The processor time of the page's own thread: the machine may be busy with other things.
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const spent = async () => (await cdp.send('Performance.getMetrics')).metrics.find((m) => m.name === 'TaskDuration').value;
  const before_ = await spent();
  await page.getByTestId('filter').fill('many/9/99');
  await cell(page, 'plain/many/9/999', 'value').filter({ hasText: '9999' }).waitFor();
  assert.equal((await counts(page))[0], 11); // 99 and 990 to 999
  const took = (await spent()) - before_;
  t.diagnostic(`finding one of ${(await counts(page))[1]} channels took ${took.toFixed(2)} s of the page's thread`);
  assert.ok(took > 0 && took < 1.5, `${took} s`);
  // From the first to the last and back; what is not on the screen is not in the page.
  await page.getByTestId('filter').fill('many/');
  await page.getByTestId('filter').press('ArrowDown');
  const focused = () => page.evaluate(() => document.activeElement.closest('li')?.dataset.key);
  assert.equal(await focused(), 'r:plain/many/0/0');
  await page.keyboard.press('End');
  assert.equal(await focused(), 'r:plain/many/9/999');
  assert.ok((await inPage()) < 80);
  await page.keyboard.press('ArrowUp');
  assert.equal(await focused(), 'r:plain/many/9/998');
  await page.evaluate(() => scrollTo(0, 0)); // away with the mouse: the keys go on from where they were
  await page.locator('[data-channel="plain/many/0/0"]').waitFor();
  await page.keyboard.press('ArrowDown');
  assert.equal(await focused(), 'r:plain/many/9/999');
  await page.keyboard.press('Home');
  assert.equal(await focused(), 'b:plain');
  await page.keyboard.press('ArrowLeft'); // closes the group
  await until(async () => (await inPage()) === 1, 'the group to close');
  await page.keyboard.press('ArrowRight');
  await until(async () => (await inPage()) > 10, 'the group to open');
  assert.deepEqual(page.faults, []);
});

test('a tree on every level with counts', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await many(world, 300, 100);
  await until(async () => (await counts(page))[1] >= 300, 'the channels');
  await page.selectOption('[data-testid=view]', 'tree');
  const head = (text) => page.locator('.head', { hasText: text });
  await page.getByTestId('filter').fill('plain/many');
  await head(/^plain\/many 300$/).waitFor(); // a level with one branch in it is one line
  await head(/^0 100$/).click();
  await head(/^1 100$/).click();
  await head(/^2 100$/).waitFor();
  assert.equal(await head(/^1 100$/).getAttribute('aria-expanded'), 'false');
  await page.getByTestId('filter').fill('many/2/7');
  await head(/^plain\/many\/2 11$/).or(head(/^plain\/many 11$/)).waitFor();
  assert.match(page.url(), /view=tree/);
});

for (const [width, height] of [[390, 844], [1024, 768], [1440, 900]]) {
  test(`accessible and presentable: ${width} px, light and dark`, async (t) => {
    const world = await demo(t);
    await until(async () => (await (await fetch(world.gateway.url + '/channels/esphome/office/co2/history')).json()).messages.length > 5, 'some history');
    const page = await open(world, { viewport: { width, height }, colorScheme: 'light', deviceScaleFactor: width < 500 ? 2 : 1 });
    await page.evaluate(AXE); // past the page's policy, as a debugger may
    const check = async (what) => {
      // In the dark only the colours are others.
      for (const [colorScheme, runOnly, most] of [['dark', { type: 'rule', values: ['color-contrast'] }, 0], ['light', ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'], 20]]) {
        await page.emulateMedia({ colorScheme });
        await page.waitForSelector(`html[data-theme=${colorScheme}]`);
        await page.screenshot({ path: join(SHOTS, `${what}-${width}-${colorScheme}.png`) });
        const { violations, passes } = await page.evaluate((runOnly) => axe.run(document, { runOnly }), runOnly);
        assert.deepEqual(violations.map((v) => `${colorScheme}: ${v.id}: ${v.nodes.map((n) => n.target.join(' ')).slice(0, 3).join(', ')}`), []);
        assert.ok(passes.length > most, 'axe has looked');
      }
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out');
    };
    await page.waitForFunction(() => document.querySelectorAll(innerWidth < 500 ? '.figure' : '.spark:not(.none)').length > 1);
    await check('list');
    // By keyboard alone: to the list, along it, into a channel, and back to where one was.
    await page.getByTestId('filter').focus();
    await page.keyboard.press('ArrowDown');
    for (let i = 0; i < 6; i++) await page.keyboard.press('ArrowDown');
    const name = await page.evaluate(() => document.activeElement.parentElement.dataset.channel);
    assert.equal(name, 'devices/climate_living_room');
    await page.keyboard.press('Enter');
    await page.locator('#detail .charts canvas').first().waitFor();
    await page.waitForSelector('#detail .publish');
    await check('detail');
    for (const tab of ['Log', 'JSON', 'Route']) {
      await page.getByRole('tab', { name: tab }).click();
      await page.locator({ Log: '#detail .log-lines li', JSON: '#detail .raw pre', Route: '#detail .explain' }[tab]).first().waitFor();
      await check(`detail-${tab.toLowerCase()}`);
    }
    await page.keyboard.press('Escape');
    assert.equal(await page.evaluate(() => document.activeElement.parentElement.dataset.channel), name);
    await page.selectOption('[data-testid=view]', 'tree');
    await page.locator('.head', { hasText: 'greenhouse' }).waitFor();
    await check('tree');
    await page.selectOption('[data-testid=view]', 'log');
    await page.locator('#feed li').nth(3).waitFor();
    await check('log');
    await page.getByTestId('menu').click();
    await check('menu');
    await page.getByTestId('open-gateway').click();
    await page.getByTestId('operator').locator('td', { hasText: '/s' }).first().waitFor();
    await check('gateway');
    await page.keyboard.press('Escape');
    await page.getByTestId('filter').fill('no such channel');
    await page.selectOption('[data-testid=view]', 'groups');
    await page.getByTestId('clear-filter').waitFor();
    await check('empty');
    assert.deepEqual(page.faults, []);
  });
}
