// The dashboard as a place to look around: widths, names, values, logs, JSON, routes, pins, links, and what it says when
// something is missing or wrong.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { cell, counts, demo, open as openIn } from './demo.mjs';
import { locks } from './tokens.mjs';
import { browse, until, World } from './world.mjs';

let browser;
before(async () => (browser = await browse()));
after(() => browser.close());
const open = (world, options, path) => openIn(browser, world, options, path);

test('at every width from 320 to 2560 px the value is seen, the end of names too, and nothing sticks out', async (t) => {
  const world = await demo(t);
  const long = 'plain/building0/floor0/device0/temperature_of_the_upper_east_wing';
  await world.publish(long + '_inside', [21.5]);
  await world.publish(long + '_outside', [-3]);
  const page = await open(world, {}, '/#/?filter=plain');
  await cell(page, long + '_outside', 'value').filter({ hasText: '-3' }).waitFor();
  const look = () => page.evaluate((channel) => {
    const row = document.querySelector(`[data-channel="${channel}"]`);
    const box = (part) => row.querySelector(part).getBoundingClientRect();
    const value = box('.plain-value'), tail = box('.tail'), name = box('.name');
    const over = document.elementFromPoint(value.left + 2, value.top + value.height / 2);
    return {
      value: value.width, tail: row.querySelector('.tail').textContent, tailSeen: tail.right <= name.right + 1 && tail.width > 10,
      overlaps: !over?.closest('.value'), sticksOut: document.documentElement.scrollWidth - innerWidth,
    };
  }, long + '_outside');
  for (const detail of [false, true]) {
    for (const width of [320, 360, 390, 480, 600, 768, 820, 993, 1024, 1100, 1150, 1280, 1440, 1920, 2560]) {
      if (detail && width < 993) continue; // there it is a sheet over the list
      await page.setViewportSize({ width, height: 800 });
      if (detail && await page.locator('#detail').isHidden()) await page.locator(`[data-channel="${long}_outside"] button`).click();
      const what = `${width} px${detail ? ' with the detail' : ''}`;
      await until(async () => (await look()).value > 30, async () => `${what}: ${JSON.stringify(await look())}`, 10_000);
      const seen = await look();
      assert.equal(seen.tail, 'ng_outside', what);
      assert.ok(seen.tailSeen && !seen.overlaps && seen.sticksOut <= 0, `${what}: ${JSON.stringify(seen)}`);
    }
  }
  // Compact rows are lower.
  const height = async () => (await page.locator('li[data-channel]').first().boundingBox()).height;
  const normal = await height();
  await page.getByTestId('menu').click();
  await page.selectOption('[data-testid=density]', 'compact');
  await until(async () => (await height()) < normal - 5, 'lower rows');
  assert.deepEqual(page.faults, []);
});

test('the detail closes by its button and by Escape from anywhere; by the back button too', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  const detail = page.locator('#detail');
  const ways = [
    () => page.getByTestId('close').click(),
    async () => (await page.locator('.bar h1').click(), await page.keyboard.press('Escape')),
    () => page.goBack(),
  ];
  for (const [width, height] of [[1440, 900], [1024, 768], [390, 844]]) {
    await page.setViewportSize({ width, height });
    for (const [i, close] of ways.entries()) {
      if (width < 993 && i === 1) continue; // the sheet lies over the header
      await page.locator('[data-channel="devices/climate_bedroom"] button').click();
      await detail.waitFor();
      await close();
      await detail.waitFor({ state: 'hidden' });
      assert.ok(!page.url().includes('climate'), `way ${i}`);
    }
  }
});

test('booleans are booleans, fields have charts of their own, what changed is marked', async (t) => {
  const world = await demo(t);
  await world.publish('plain/flags', ['{"t":true,"f":false}']);
  await world.publish('plain/flag', ['true']);
  const page = await open(world, {}, '/#/?filter=plain');
  await cell(page, 'plain/flags', 'value').filter({ hasText: 't truef false' }).waitFor();
  await cell(page, 'plain/flag', 'value').locator('.pill.on', { hasText: 'true' }).waitFor();
  const detail = page.locator('#detail');
  await page.locator('[data-channel="plain/flags"] button').click();
  for (let i = 0; i < 3; i++) await world.publish('plain/flags', [`{"t":${i % 2 === 1},"f":false}`]);
  await detail.locator('.leaf.changed', { hasText: 'false' }).waitFor();
  assert.equal(await detail.locator('.leaf.changed').getAttribute('title'), 'was true');
  assert.equal(await detail.locator('canvas').count(), 0);

  for (const n of [1, 2, 3]) await world.publish('plain/two', [`{"pressure":${1010 + n},"humidity":${40 + n / 10}}`]);
  await page.locator('[data-channel="plain/two"] button').click();
  await detail.getByRole('button', { name: 'Chart pressure' }).click();
  await until(async () => (await detail.locator('canvas').count()) === 2, 'two charts');
  await page.getByRole('tab', { name: 'JSON' }).click();
  await world.publish('plain/two', ['{"pressure":1013,"humidity":55}']);
  await until(async () => String(await detail.locator('mark').allTextContents()) === '  "humidity": 55\n', 'the one line that changed');
});

test('JSON is checked before it is sent; as text it goes as it is', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await page.getByRole('button', { name: 'Publish…' }).click();
  const dialog = page.locator('#dialog');
  await dialog.getByLabel('Channel').fill('once/typed');
  for (const [text, wrong] of [["{'state':'ON'}", true], ['{"state":', true], ['[1,', true], ['"open', true], ['hello {', false], ['{"state":"ON"}', false]]) {
    await dialog.getByTestId('publish-text').fill(text);
    await dialog.getByTestId('publish-send').click();
    await page.waitForSelector(`#dialog [data-testid=publish-result][data-stage=${wrong ? 'invalid' : 'accepted'}]`);
    if (!wrong) continue;
    assert.match(await dialog.getByTestId('publish-result').textContent(), /not valid JSON/);
    assert.ok(!(await (await fetch(world.gateway.url + '/channels')).text()).includes(`once/typed${text.length}`));
  }
  // Nothing at all would clear a value that the broker keeps: never by a slip.
  await dialog.getByTestId('publish-text').fill('');
  await dialog.getByTestId('publish-send').click();
  await dialog.getByText('there is nothing to send').waitFor();
  await dialog.getByTestId('publish-text').fill("{'state':'ON'}");
  await dialog.getByTestId('publish-send').click();
  await dialog.getByTestId('publish-as-text').click();
  await page.waitForSelector('#dialog [data-testid=publish-result][data-stage=accepted]');
  const last = async () => (await (await fetch(world.gateway.url + '/channels/once/typed')).json()).data;
  await until(async () => (await last()) === "{'state':'ON'}", async () => JSON.stringify(await last()));
});

test('a link to a channel without a value waits for it; trouble shows in the badge, the title and the icon', async (t) => {
  const world = await demo(t);
  const page = await open(world, {}, '/#/channels/plain%2Flater%3Fa%26b%25');
  await page.getByTestId('waiting').filter({ hasText: 'No value yet' }).waitFor();
  await page.locator('#detail').getByRole('heading', { name: 'plain/later?a&b%', exact: true }).waitFor();
  await page.evaluate(() => (location.hash = '#/channels/nowhere%2Fx'));
  await page.getByTestId('waiting').filter({ hasText: 'No route of the gateway leads' }).waitFor();
  await page.goBack();
  await page.getByTestId('waiting').filter({ hasText: 'No value yet' }).waitFor();
  await world.publish('plain/later?a&b%', ['here']);
  await page.locator('#detail .big', { hasText: 'here' }).waitFor();
  assert.equal(await page.title(), 'plain/later?a&b% · Sluice');
  await world.stopBroker();
  await page.locator('[data-testid=state][data-upstream=down]', { hasText: 'Broker down' }).waitFor();
  await page.getByTestId('upstream').filter({ hasText: /^Broker unreachable\. Values are stale since \d\d:\d\d:\d\d \(/ }).waitFor();
  await until(async () => (await page.title()).startsWith('⚠ Broker down'), 'the title');
  assert.equal(await page.locator('#icon').getAttribute('href'), 'favicon-down.svg');
  assert.ok((await fetch(world.gateway.url + '/favicon-down.svg')).ok);
  await world.startBroker();
  await page.locator('[data-testid=state][data-upstream=up]', { hasText: 'Live' }).waitFor();
  await until(async () => (await page.title()).startsWith('plain/'), 'the title');
  for (const bad of ['/#/channels/%E0%A4%A', '/#/channels/', '/#nonsense?view=no&sort=no&pin=', '/#/?view=tree&view=list']) {
    await page.goto(world.gateway.url + bad);
    await page.reload();
    await until(async () => (await counts(page))[0] > 20, bad);
  }
  assert.deepEqual(page.faults.filter((fault) => !/ERR_|WebSocket|status of 404/.test(fault)), []);
});

test('sorts, pins, and shows the same again from its address', async (t) => {
  const world = await demo(t);
  for (const [name, value] of [['a', 5], ['b', 50], ['c', 7]]) {
    await world.publish('plain/' + name, [value]);
    // The next one comes later by the gateway's clock, which counts milliseconds.
    const current = async () => (await fetch(`${world.gateway.url}/channels/plain/${name}`)).json();
    const ts = await until(async () => (await current()).ts, name);
    await until(() => Date.now() > ts + 1, 'the next millisecond');
  }
  const page = await open(world, {}, '/#/?filter=plain');
  const names = () => page.evaluate(() => [...document.querySelectorAll('[data-channel]')].map((row) => row.dataset.channel.slice(6)).join());
  await until(async () => (await names()) === 'a,b,c', names);
  await page.selectOption('[data-testid=view]', 'list');
  await page.selectOption('[data-testid=sort]', 'value');
  await until(async () => (await names()) === 'b,c,a', names);
  await page.selectOption('[data-testid=sort]', 'age');
  await until(async () => (await names()) === 'c,b,a', names);
  await world.publish('plain/a', [6]);
  await until(async () => (await names()) === 'a,c,b', names);
  await page.locator('[data-channel="plain/b"] button').click();
  await page.getByTestId('pin').click();
  await until(async () => (await names()) === 'b,a,c,b', names);
  assert.equal(await page.getByTestId('pin').getAttribute('aria-pressed'), 'true');
  const address = page.url();
  const other = await open(world, {}, address.slice(world.gateway.url.length));
  await until(async () => (await other.locator('.head', { hasText: 'Pinned' }).count()) === 1 && (await other.getByTestId('sort').inputValue()) === 'age', 'the same view');
  await other.locator('#detail').getByRole('heading', { name: 'plain/b', exact: true }).waitFor();
  await other.getByTestId('pin').click();
  await until(async () => !other.url().includes('pin='), 'no pin');
  assert.deepEqual([page.faults, other.faults], [[], []]);
});

test('logs messages of a filter and of a channel, and stops for reading', async (t) => {
  const world = await demo(t);
  const page = await open(world, {}, '/#/?view=log&filter=plain/%2B');
  await page.getByText('Waiting for messages').waitFor();
  const lines = page.getByTestId('log').locator('li');
  for (const value of ['one', '<b>two</b>']) await world.publish('plain/x', [value]);
  await lines.filter({ hasText: '<b>two</b>' }).waitFor();
  assert.match(await lines.first().textContent(), /^\d\d:\d\d:\d\d\.\d{3}plain\/x<b>two<\/b>/);
  assert.equal(await lines.count(), 2); // nothing of the demo's
  await page.getByTestId('log-pause').click();
  await world.publish('plain/x', Array.from({ length: 250 }, (_, i) => `n${i}`));
  await page.getByText('Paused, 250 waiting').waitFor();
  assert.equal(await lines.count(), 2);
  await page.getByTestId('log-pause').click();
  await lines.filter({ hasText: 'n249' }).waitFor();
  assert.equal(await lines.count(), 200); // and no more
  await page.getByText('50 were too many to show').waitFor();
  await lines.first().getByRole('button').click(); // the channel's own
  await page.getByRole('tab', { name: 'Log' }).click();
  await page.locator('#detail').getByTestId('log').locator('li', { hasText: 'n248' }).waitFor();
  assert.deepEqual(page.faults, []);
});

test('copies the value, curl, JavaScript and the route; saves the history as CSV; explains', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.locator('[data-channel="devices/lamp_kitchen"] button').click();
  await page.getByRole('tab', { name: 'JSON' }).click();
  const copied = async (label) => {
    await page.locator('#detail .raw').getByRole('button', { name: label, exact: true }).click();
    await page.getByTestId('copied').filter({ hasText: `Copied: ${label}` }).waitFor();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal(typeof JSON.parse(await copied('Value')).state, 'string');
  assert.equal(await copied('Channel'), 'devices/lamp_kitchen');
  const address = /^curl '(.*)'$/m.exec(await copied('curl'))[1];
  assert.equal((await (await fetch(address)).json()).channel, 'devices/lamp_kitchen');
  assert.match(await copied('JavaScript'), /subscribe\("devices\/lamp_kitchen"/);
  assert.equal(await copied('YAML route'), '- topic: "zigbee2mqtt/{device}"\n  channel: "devices/{device}"\n  codec: json\n  publish:\n    topic: "zigbee2mqtt/{device}/set"\n');
  await page.getByRole('tab', { name: 'Route' }).click();
  await page.getByTestId('explain').filter({ hasText: "fed by:   topic 'zigbee2mqtt/lamp_kitchen'" }).waitFor();

  await world.publish('plain/table', ['{"t":1.5,"s":"=1+1","n":{"a":"x,\\"y\\""}}', '{"t":2,"on":true}']);
  await page.goto(world.gateway.url + '/#/channels/plain%2Ftable');
  await page.getByRole('tab', { name: 'Log' }).click();
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByTestId('csv').click()]);
  assert.equal(download.suggestedFilename(), 'plain_table.csv');
  const [head, one, two] = readFileSync(await download.path(), 'utf8').trimEnd().split('\r\n');
  assert.equal(head, 'time,t,s,n.a,on');
  assert.match(one, /^\d{4}-.*Z,1\.5,'=1\+1,"x,""y""",$/);
  assert.match(two, /^\d{4}-.*Z,2,,,true$/);
  assert.deepEqual(page.faults, []);
});

test('sessions and rates from the metrics', async (t) => {
  const world = await demo(t);
  const page = await open(world);
  await page.getByTestId('menu').click();
  await page.getByTestId('open-gateway').click();
  const row = (name) => page.getByTestId('operator').locator('tr', { hasText: name });
  await row('Sessions').filter({ hasText: /[1-9].*websocket/ }).waitFor();
  await row('Broker').filter({ hasText: 'Connected' }).first().waitFor();
  await row('Messages from the broker').filter({ hasText: /\d\/s/ }).waitFor();
  await page.keyboard.press('Escape');
  assert.deepEqual(page.faults, []);
});

test('a gateway without channels says what would bring some: its own routes and broker', async (t) => {
  const world = new World(t);
  await world.broker();
  world.gateway = await world.sluice('  - topic: "farm/{barn}/temp"\n    channel: "barns/{barn}"\n  - topic: tele/#\n');
  const page = await open(world);
  await page.locator('.routes li').first().waitFor();
  assert.deepEqual(await page.locator('.routes li').allTextContents(), ['farm/{barn}/temp → barns/{barn}', 'tele/#']);
  const example = await page.getByTestId('example').textContent();
  assert.equal(example, `mosquitto_pub -h 127.0.0.1 -p ${world.brokerPort} -t farm/barn/temp -m 21.5`);
  await world.publish('farm/barn/temp', [21.5]); // what it says, done
  await cell(page, 'barns/barn', 'value').filter({ hasText: '21.5' }).waitFor();
  assert.ok(await page.locator('#empty').isHidden());
});

test('channels that # does not bring, and those beyond the subscriptions, are found by asking the gateway', async (t) => {
  const world = new World(t);
  await world.broker();
  const one = Array.from({ length: 6 }, (_, i) => `many/${i}`).join('", "');
  world.locks = locks(world, `  viewer: { subscribe: ["${one}", "$own/#"] }\n`, '  anonymous: [viewer]\n');
  world.gateway = await world.sluice('  - topic: many/#\n  - topic: own/{rest...}\n    channel: $own/{rest...}\n', world.locks.yaml() + 'limits: { subscriptions: 4 }\n');
  for (let i = 0; i < 6; i++) await world.publish(`many/${i}`, [i], { retain: true });
  await world.publish('own/x/y', ['mine'], { retain: true });
  const page = await open(world);
  await page.getByRole('alert').filter({ hasText: 'no more subscriptions' }).waitFor();
  assert.ok((await counts(page))[1] < 7);
  for (const [filter, channel, value] of [['many/5', 'many/5', '5'], ['$own/#', '$own/x/y', 'mine']]) {
    await page.getByTestId('filter').fill(filter);
    await cell(page, channel, 'value').filter({ hasText: value }).waitFor();
  }
});

test('who may not publish is told so, or is not offered it; routes are for those who may see everything', async (t) => {
  const world = new World(t);
  await world.broker();
  world.locks = locks(world, '  viewer: { subscribe: "#" }\n  keeper: { subscribe: "rooms/+", publish: "rooms/lamp" }\n');
  world.gateway = await world.sluice('  - topic: rooms/{name}\n    publish: { topic: "rooms/{name}/set" }\n', world.locks.yaml());
  for (const name of ['lamp', 'heater']) await world.publish('rooms/' + name, ['ON'], { retain: true });
  const as = async (role) => {
    const context = await browser.newContext();
    world.keep(() => context.close());
    const page = await context.newPage();
    page.setDefaultTimeout(Number(process.env.SLUICE_PAGE_TIMEOUT) || 60_000);
    await page.goto(world.gateway.url + '/');
    await page.getByLabel('Token or API key').fill(world.locks.jwt({ sub: role, roles: [role] }));
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-testid=state][data-state=live]');
    await page.locator('[data-channel="rooms/heater"] button').click();
    return page;
  };
  const viewer = await as('viewer');
  await viewer.locator('#compose').waitFor({ state: 'hidden' });
  await viewer.getByRole('tab', { name: 'Route' }).click();
  await viewer.getByTestId('explain').filter({ hasText: 'rooms/{name}' }).waitFor();
  const keeper = await as('keeper');
  await keeper.locator('#compose').waitFor();
  await keeper.getByTestId('no-publish').filter({ hasText: 'Your role may not publish here.' }).waitFor();
  await keeper.getByRole('tab', { name: 'Route' }).click();
  await keeper.getByTestId('explain').filter({ hasText: 'Only those who may see every channel' }).waitFor();
  await keeper.getByRole('tab', { name: 'Value' }).click();
  await keeper.locator('[data-channel="rooms/lamp"] button').click();
  await keeper.locator('#detail').getByTestId('publish-send').waitFor();
});
