// The dashboard's chart over a span and zoomed in: the gateway's windows, with what comes live.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { open as openIn } from './demo.mjs';
import { browse, until, World } from './world.mjs';

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

const ROUTES = '\n  - topic: plain/#\n    history: { count: 20000, bytes: 64MiB }\n';

test('spans and zoom show windows, peaks included, and go on live', async (t) => {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  const values = Array.from({ length: 800 }, (_, i) => JSON.stringify({ 'a/b': { t: i === 234 ? 500 : 20 + (i % 10) }, u: 1 }));
  await world.publish('plain/wave', values);
  await until(async () => (await (await fetch(world.gateway.url + '/channels/plain%2Fwave/history')).json()).messages.length === 800, 'all messages');
  const page = await openIn(browser, world, {}, '/#/channels/plain%2Fwave');
  const detail = page.locator('#detail');
  await detail.locator('.charts canvas').first().waitFor();
  if ((await detail.getByRole('button', { name: 'Chart u', exact: true }).getAttribute('aria-pressed')) === 'true')
    await detail.getByRole('button', { name: 'Chart u', exact: true }).click();
  const chart = detail.getByRole('button', { name: /^Chart .*t$/ }).first();
  if ((await chart.getAttribute('aria-pressed')) === 'false') await chart.click();
  assert.deepEqual(await detail.locator('.spans [data-span]').allTextContents(), ['5 min', '1 h', '24 h', '7 d', 'All']);

  const asked = async (act) => {
    const [answer] = await Promise.all([page.waitForResponse((one) => one.url().includes('/series?')), act()]);
    return [new URL(answer.url()).searchParams, await answer.json()];
  };
  for (const [name, seconds] of [['5 min', 300], ['1 h', 3600], ['24 h', 86400], ['7 d', 604800]]) {
    const [query, body] = await asked(() => detail.getByRole('button', { name, exact: true }).click());
    assert.equal(query.get('field'), '/a~1b/t');
    assert.ok(Math.abs(Date.now() - Number(query.get('from')) - seconds * 1000) < 30_000 && query.get('to') === 'now');
    assert.equal(body.count.reduce((sum, one) => sum + one, 0), 800);
    assert.equal(Math.max(...body.max), 500);
    await page.waitForSelector('.charts[data-windows="1"]');
    await detail.locator('.u-legend .u-label', { hasText: 'max' }).waitFor();
  }
  // Live: the newest window has what came.
  await world.publish('plain/wave', [JSON.stringify({ 'a/b': { t: 900 }, u: 1 })]);
  await until(async () => (await detail.locator('.u-legend').first().textContent()).includes('900'), 'the peak in the legend');

  await detail.getByRole('button', { name: '5 min', exact: true }).click();
  const box = await detail.locator('.charts .u-over').first().boundingBox();
  const [query] = await asked(async () => {
    await page.mouse.move(box.x + box.width * 0.5, box.y + 50);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.9, box.y + 50, { steps: 5 });
    await page.mouse.up();
  });
  assert.ok(Number(query.get('to')) - Number(query.get('from')) < 200_000, 'less than the span');
  const [again] = await asked(() => detail.getByRole('button', { name: 'Reset zoom' }).click());
  assert.equal(again.get('to'), 'now');
  await detail.getByRole('button', { name: 'All', exact: true }).click();
  await detail.locator('.u-legend .u-label', { hasText: 'max' }).waitFor({ state: 'detached' });
  assert.deepEqual(page.faults, []);
});

test('a span that goes on is asked for once, however many messages come meanwhile, and has them', async (t) => {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  await world.publish('plain/quick', ['1', '2', '3']);
  await until(async () => (await (await fetch(world.gateway.url + '/channels/plain%2Fquick/history')).json()).messages.length === 3, 'all messages');
  const page = await openIn(browser, world, {}, '/#/channels/plain%2Fquick');
  const detail = page.locator('#detail');
  await detail.locator('.charts canvas').first().waitFor();
  await detail.getByRole('button', { name: '1 h', exact: true }).click();
  await page.waitForSelector('.charts[data-windows="1"]');

  let asked = 0;
  await page.route('**/series?**', async (route) => {
    asked++;
    const response = await route.fetch();
    if (asked === 1) {
      await world.publish('plain/quick', Array.from({ length: 20 }, () => '900'));
      await until(async () => (await detail.locator('.u-legend').first().textContent()).includes('900'), 'what comes meanwhile');
    }
    await route.fulfill({ response });
  });
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 100_000; // it is time to ask again
    window.answers = 0;
    new MutationObserver(() => window.answers++).observe(document.querySelector('.charts'), { attributeFilter: ['data-windows'] });
  });
  await world.publish('plain/quick', ['4']);
  await page.waitForFunction(() => window.answers > 0);
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  assert.ok((await detail.locator('.u-legend').first().textContent()).includes('900'), 'still there in the answer that was made before them');
  assert.equal(asked, 1);
  assert.deepEqual(page.faults, []);
});

test('an answer that does not come leaves the chart, which says that it is out of date, and asks again', async (t) => {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice(ROUTES);
  await world.publish('plain/kept', ['1', '2', '700']);
  await until(async () => (await (await fetch(world.gateway.url + '/channels/plain%2Fkept/history')).json()).messages.length === 3, 'all messages');
  const page = await openIn(browser, world, {}, '/#/channels/plain%2Fkept');
  const detail = page.locator('#detail');
  await detail.locator('.charts canvas').first().waitFor();
  await detail.getByRole('button', { name: '1 h', exact: true }).click();
  await page.waitForSelector('.charts[data-windows="1"]');

  let fails = true;
  await page.route('**/series?**', (route) => (fails ? route.fulfill({ status: 503, body: '{}' }) : route.continue()));
  await page.evaluate(() => {
    const now = Date.now;
    Date.now = () => now() + 100_000; // it is time to ask again
  });
  await world.publish('plain/kept', ['4']);
  await detail.getByText('Out of date').waitFor();
  assert.equal(await detail.locator('.charts').getAttribute('data-windows'), '1');
  await detail.locator('.u-legend .u-label', { hasText: 'max' }).waitFor();
  fails = false;
  await detail.getByText('Out of date').waitFor({ state: 'hidden' });
  assert.equal(await detail.locator('.charts').getAttribute('data-windows'), '1');
});
