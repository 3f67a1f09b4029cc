// How the dashboard does with very many channels: node tests/bench/dashboard.mjs [channels] [messages a second]
// Prints one JSON object: how long until all channels are there, how busy the page's thread is, how many frames it draws.
// What is aimed at, with 10,000 channels and 200 messages a second: ready below 2 s, idle below 5 % of a core, 60 frames a second.
import { browse, Child, until, World } from '../browser/world.mjs';

const [channels = 10_000, rate = 200] = process.argv.slice(2).map(Number);
const SECONDS = 5; // of each measurement
const ends = [];
const world = new World({ after: (end) => ends.push(end) });

const publisher = (body) => new Child('/usr/bin/python3', ['-c', `
import random, time
import paho.mqtt.client as m
c = m.Client(**({"callback_api_version": m.CallbackAPIVersion.VERSION1} if hasattr(m, "CallbackAPIVersion") else {}))
c.max_queued_messages_set(0); c.max_inflight_messages_set(1000)
c.connect("127.0.0.1", ${world.brokerPort}); c.loop_start()
name = lambda i: f"plants/hall{i // 1000}/line{i % 1000 // 50}/machine{i % 50}"
${body}
c.disconnect()`]);

try {
  await world.broker();
  const gateway = await world.sluice('  - topic: plants/#\n', 'limits: { channels: 200000 }\n');
  const first = publisher(`
for i in range(${channels}):
    x = c.publish(name(i), '{"temperature":%.1f,"running":true}' % random.uniform(10, 30), 1)
    if i % 5000 == 4999: x.wait_for_publish() # it has 65,535 packet identifiers
x.wait_for_publish()`);
  await first.ended;
  if (first.output) throw new Error(first.output);
  const there = async () => (await (await fetch(gateway.url + '/channels')).json()).channels.length;
  await until(async () => (await there()) === channels, async () => `${await there()} channels at the gateway`, 120_000);

  const browser = await browse();
  world.keep(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metric = async (name) => (await cdp.send('Performance.getMetrics')).metrics.find((one) => one.name === name).value;
  const out = { channels, rate };

  await page.addInitScript(() => {
    new PerformanceObserver((list) => list.getEntries().forEach((task) => (globalThis.longest = Math.max(globalThis.longest ?? 0, task.duration)))).observe({ entryTypes: ['longtask'] });
  });
  await page.goto(gateway.url, { waitUntil: 'commit' });
  await page.waitForFunction((all) => document.getElementById('count')?.textContent === `${all} channels`, channels, { polling: 'raf', timeout: 120_000 });
  out.ready_ms = Math.round(await page.evaluate(() => performance.now()));
  out.ready_busy_ms = Math.round(await metric('TaskDuration') * 1000); // of the page's thread: what it takes on a quiet machine at least
  await page.waitForTimeout(3000); // sparklines of what is on the screen

  const measure = async (what, doing) => {
    await page.evaluate(() => {
      globalThis.longest = globalThis.frames_ = 0;
      const count = () => (globalThis.frames_++, (globalThis.frame_ = requestAnimationFrame(count)));
      if (globalThis.counting) count();
    });
    const busy = await metric('TaskDuration'), start = performance.now();
    await doing();
    const seconds = (performance.now() - start) / 1000;
    out[what] = { busy_percent: Math.round(((await metric('TaskDuration')) - busy) / seconds * 1000) / 10, longest_task_ms: Math.round(await page.evaluate(() => globalThis.longest)) };
    const frames = await page.evaluate(() => (cancelAnimationFrame(globalThis.frame_), globalThis.frames_));
    if (frames) out[what].frames_a_second = Math.round(frames / seconds);
  };
  const rest = () => page.waitForTimeout(SECONDS * 1000);
  await measure('idle', rest);
  const live = publisher(`
start = time.time()
for n in range(10**9):
    c.publish(name(random.randrange(${channels})), '{"temperature":%.1f,"running":true}' % random.uniform(10, 30), 0)
    time.sleep(max(0, start + n / ${rate} - time.time()))`);
  world.keep(() => live.stop());
  await page.waitForTimeout(1000);
  await measure('live', rest);
  await page.evaluate(() => (globalThis.counting = true)); // counting frames costs some itself
  await measure('live, frames counted', rest);
  await page.mouse.move(400, 500);
  await measure('live, scrolling', async () => {
    for (const end = performance.now() + SECONDS * 1000; performance.now() < end; ) {
      await page.mouse.wheel(0, 150);
      await page.waitForTimeout(16);
    }
  });
  await measure('live, typing into the filter', async () => {
    for (let i = 0; i < 4; i++) {
      await page.getByTestId('filter').pressSequentially('machine4', { delay: 100 });
      await page.getByTestId('filter').fill('');
    }
  });
  await cdp.send('HeapProfiler.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  out.heap_MiB = Math.round(await metric('JSHeapUsedSize') / 104857.6) / 10;
  out.elements = await page.evaluate(() => document.querySelectorAll('*').length);
  console.log(JSON.stringify(out, null, 2));
} finally {
  for (const end of ends) await end();
}
