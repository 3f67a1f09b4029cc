// The demo in a test, and its dashboard in a browser.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Child, ROOT, until, World } from './world.mjs';

/** The demo: its configuration, its simulators. */
export async function demo(t, more = '') {
  const world = new World(t);
  await world.broker();
  const routes = readFileSync(join(ROOT, 'config/demo.yaml'), 'utf8').split('routes:\n')[1];
  world.gateway = await world.sluice(routes + '\n  - topic: once/{id}\n    publish: { qos: 0 }\n  - topic: plain/#\n', more);
  const simulator = new Child('/usr/bin/python3', [join(ROOT, 'docker/simulator/simulator.py'), '--port', String(world.brokerPort)]);
  world.keep(() => simulator.stop());
  await until(async () => (await (await fetch(world.gateway.url + '/channels')).json()).channels.length > 20, () => simulator.output);
  return world;
}

export async function open(browser, world, options = {}, path = '/') {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  world.keep(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.SLUICE_PAGE_TIMEOUT) || 60_000);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
  await page.goto(world.gateway.url + path);
  await page.waitForSelector('[data-testid=state][data-state=live]');
  return page;
}

/** From what the page says, since only the rows on the screen are in it: [shown, all]. */
export const counts = async (page) => {
  const found = /^(\d+)(?: of (\d+))? channel/.exec(await page.getByTestId('count').textContent());
  return found ? [Number(found[1]), Number(found[2] ?? found[1])] : [0, 0];
};
export const cell = (page, channel, field) => page.locator(`[data-channel="${channel}"] [data-field=${field}]`);
