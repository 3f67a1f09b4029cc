// The dashboard with what nobody expects: numbers that no double holds, a browser whose clock is wrong, values and names without end.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { cell, open as openIn } from './demo.mjs';
import { browse, Child, until, World } from './world.mjs';

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());

async function start(t) {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice('  - { topic: plain/#, publish: true, history: { count: 100, bytes: 8MiB } }\n');
  return world;
}
const show = async (page, channel, tab) => {
  await page.evaluate((hash) => (location.hash = hash), '#/channels/' + encodeURIComponent(channel));
  await page.locator('#detail').getByRole('heading', { name: channel, exact: true }).waitFor();
  if (tab) await page.getByRole('tab', { name: tab }).click();
};

test('numbers that a double cannot hold are shown, copied and published as they were written', async (t) => {
  const world = await start(t);
  await world.publish('plain/id', ['{"id":9007199254740993,"list":[1e999,-12345678901234567890],"n":1}']);
  const page = await openIn(browser, world);
  await page.evaluate(() => {
    navigator.clipboard ? (navigator.clipboard.writeText = async (text) => void (globalThis.copied = text)) : Object.defineProperty(navigator, 'clipboard', { value: { writeText: async (text) => void (globalThis.copied = text) } });
  });
  await show(page, 'plain/id', 'JSON');
  const raw = page.getByTestId('raw');
  for (const number of ['9007199254740993', '1e999', '-12345678901234567890']) await raw.filter({ hasText: number }).waitFor();
  await page.getByRole('button', { name: 'Value', exact: true }).click();
  await page.getByTestId('copied').filter({ hasText: 'Copied' }).waitFor();
  assert.match(await page.evaluate(() => globalThis.copied), /"id": 9007199254740993,[^]*-12345678901234567890/);
  assert.match(await cell(page, 'plain/id', 'value').textContent(), /9\.007e\+15/); // as a number that is rounded

  await page.getByRole('tab', { name: 'Value' }).click();
  await page.locator('#detail').getByTestId('publish-text').fill('{"id": 18446744073709551615}');
  await page.locator('#detail').getByTestId('publish-send').click();
  await page.waitForSelector('#detail [data-testid=publish-result][data-stage=published]');
  await until(async () => /"data":\{"id": ?18446744073709551615\}/.test(await (await fetch(world.gateway.url + '/channels/plain/id')).text()), 'the number at the broker');
  assert.deepEqual(page.faults, []);
});

for (const hours of [-30, 30]) {
  test(`a browser whose clock is ${hours} hours off: ages and charts go by the gateway`, async (t) => {
    const world = await start(t);
    await world.publish('plain/t', ['1', '5', '3']);
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    world.keep(() => context.close());
    await context.addInitScript((ms) => {
      const real = Date.now;
      Date.now = () => real() + ms;
    }, hours * 3_600_000);
    const page = await context.newPage();
    await page.goto(world.gateway.url + '/#/channels/plain%2Ft');
    await page.locator('#notice').getByText(/clock of this device is 30 h (ahead of|behind) the gateway/).waitFor();
    await page.waitForFunction(() => /^(now|\d+ s|[1-5] min)$/.test(document.querySelector('[data-channel="plain/t"] .age')?.textContent));
    const [answer] = await Promise.all([page.waitForResponse((one) => one.url().includes('/series?')), page.getByRole('button', { name: '5 min', exact: true }).click()]);
    assert.equal((await answer.json()).count.reduce((sum, one) => sum + one, 0), 3);
  });
}

test('values of a mebibyte, deep ones and long keys leave the page calm and as wide as it was', async (t) => {
  const world = await start(t);
  const values = {
    fields: JSON.stringify(Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => ['k' + i, i]))),
    list: JSON.stringify(Array.from({ length: 150_000 }, (_, i) => i)),
    table: JSON.stringify(Array.from({ length: 200 }, () => Array.from({ length: 200 }, (_, i) => i))),
    text: 'x'.repeat(1 << 20),
    key: JSON.stringify({ ['k'.repeat(5000)]: 1 }),
    deep: '{"a":'.repeat(60) + '1' + '}'.repeat(60),
  };
  for (const [name, value] of Object.entries(values)) {
    const child = new Child('mosquitto_pub', ['-p', String(world.brokerPort), '-q', '1', '-r', '-t', 'plain/' + name, '-f', world.file(name, value)]);
    await child.ended;
    assert.equal(child.output, '');
  }
  const page = await openIn(browser, world);
  await cell(page, 'plain/deep', 'value').waitFor();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const spent = async () => (await cdp.send('Performance.getMetrics')).metrics.find((one) => one.name === 'TaskDuration').value;
  for (const name of Object.keys(values)) {
    const from = await spent();
    await show(page, 'plain/' + name, 'JSON');
    await page.getByTestId('raw').waitFor();
    await page.getByRole('tab', { name: 'Value' }).click();
    const { elements, wide } = await page.evaluate(() => {
      const detail = document.getElementById('detail');
      return { elements: detail.querySelectorAll('*').length, wide: Math.max(document.documentElement.scrollWidth - innerWidth, detail.scrollWidth - detail.clientWidth) };
    });
    const took = (await spent()) - from;
    t.diagnostic(`${name}: ${elements} elements, ${took.toFixed(2)} s of the page's thread`);
    assert.ok(elements < 2_500 && wide <= 0 && took < 3, `${name}: ${elements} elements, ${wide} px too wide, ${took} s`);
  }
  // A branch is built when it is opened.
  await show(page, 'plain/table');
  const row = page.locator('#detail .tree details').nth(7);
  assert.equal(await row.locator('li').count(), 0);
  await row.locator('summary').click();
  await row.getByText('199', { exact: true }).first().waitFor();
  assert.deepEqual(page.faults, []);
});

test('the last level of a name keeps its end while the levels before it have room to give', async (t) => {
  const world = await start(t);
  const names = ['Settings/0/VenusApp/System/LockButtonState', 'solarcharger/279/Dc/0/Voltage/History/Overall/Logmode', 'a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/t/u/v/w/x/y/z/Current'];
  for (const name of names) await world.publish('plain/' + name, ['1']);
  for (const width of [390, 1024, 1440]) {
    const page = await openIn(browser, world, { viewport: { width, height: 800 } }, '/#/channels/plain%2Fx');
    if (width < 1000) await page.evaluate(() => (location.hash = '#/'));
    await until(async () => (await page.locator('[data-channel]').count()) === 3, 'the rows');
    const cut = await page.evaluate(() => [...document.querySelectorAll('.leaf-name .cut')].map((one) => one.scrollWidth - one.clientWidth));
    assert.deepEqual(cut, [0, 0, 0], `${width} px`);
    await page.context().close();
  }
});

test('a tab that was frozen while the gateway was killed, and one that comes back to the page, are current', async (t) => {
  const world = await start(t);
  await world.publish('plain/a', ['1'], { retain: true });
  await world.publish('plain/b', ['2'], { retain: true });
  const page = await openIn(browser, world);
  await page.locator('[data-channel="plain/a"] button').click();
  await page.locator('[data-channel="plain/b"] button').click();
  await page.goBack();
  await page.locator('#detail').getByRole('heading', { name: 'plain/a', exact: true }).waitFor();

  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await world.gateway.stop('SIGKILL');
  await world.gateway.start();
  await world.publish('plain/a', ['55'], { retain: true });
  await cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await cell(page, 'plain/a', 'value').filter({ hasText: '55' }).waitFor();
  await page.locator('#gaps', { hasText: /gap/ }).waitFor();

  await page.goto('about:blank');
  await world.publish('plain/a', ['77'], { retain: true });
  await page.goBack();
  await cell(page, 'plain/a', 'value').filter({ hasText: '77' }).waitFor();
  await page.locator('#detail .big', { hasText: '77' }).waitFor();
});
