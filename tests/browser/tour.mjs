// Makes docs/images/tour.svg, the moving picture in README: screenshots of the real dashboard with the demo, one after the
// other. `node tests/browser/tour.mjs` after ./dev build.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { demo, open } from './demo.mjs';
import { browse, ROOT } from './world.mjs';

const SIZE = { width: 1120, height: 640 };
const SHOWN = 3; // seconds of each picture
const ends = [];
const world = await demo({ after: (end) => ends.push(end) });
const browser = await browse();
try {
  const page = await open(browser, world, { viewport: SIZE, colorScheme: 'light' });
  const press = await browser.newPage(); // the dashboard's policy allows no data: in it
  const frames = [];
  const take = async (words) => {
    const png = await page.screenshot();
    // Smaller than PNG, and Chromium can make it.
    const webp = await press.evaluate(async (data) => {
      const image = new Image();
      image.src = `data:image/png;base64,${data}`;
      await image.decode();
      const canvas = Object.assign(document.createElement('canvas'), { width: image.width, height: image.height });
      canvas.getContext('2d').drawImage(image, 0, 0);
      return canvas.toDataURL('image/webp', 0.75);
    }, png.toString('base64'));
    frames.push({ webp, words });
  };
  await page.waitForTimeout(4_000); // some history for the lines
  await take('Every topic is a live channel');
  await page.getByTestId('filter').fill('lamp');
  await page.waitForTimeout(500);
  await take('Filter thousands of them');
  await page.getByTestId('filter').fill('');
  await page.locator('[data-channel="devices/climate_bedroom"], [data-channel^="devices/climate"]').first().click();
  await page.locator('#detail .charts canvas').first().waitFor();
  await page.waitForTimeout(2_000);
  await take('History, then live');
  await page.getByRole('tab', { name: 'Route' }).click();
  await page.locator('#detail .explain').first().waitFor();
  await take('Which route, and why');
  await page.keyboard.press('Escape');
  await page.selectOption('[data-testid=view]', 'tree');
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.waitForTimeout(1_000);
  await take('As a tree, in the dark');
  const all = frames.length * SHOWN;
  const images = frames.map(({ webp, words }, index) => {
    const [from, to] = [index / frames.length, (index + 1) / frames.length];
    const times = index ? `0;${from.toFixed(4)};${to.toFixed(4)}` : `0;${to.toFixed(4)}`;
    const values = index ? 'hidden;visible;hidden' : 'visible;hidden';
    return `<g visibility="${index ? 'hidden' : 'visible'}"><animate attributeName="visibility" dur="${all}s" repeatCount="indefinite" calcMode="discrete" keyTimes="${times}" values="${values}"/>
<image width="${SIZE.width}" height="${SIZE.height}" href="${webp}"/><rect y="${SIZE.height - 44}" width="${words.length * 11 + 40}" height="44" fill="#0b3b46"/><text x="20" y="${SIZE.height - 15}" fill="#fff" font-family="sans-serif" font-size="20">${words}</text></g>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIZE.width} ${SIZE.height}"><title>The dashboard: ${frames.map(({ words }) => words.toLowerCase()).join('; ')}</title>\n${images.join('\n')}\n</svg>\n`;
  if (svg.length >= 300_000) throw new Error(`${svg.length} bytes: not below 300 kB`);
  writeFileSync(join(ROOT, 'docs/images/tour.svg'), svg);
  console.log(`docs/images/tour.svg: ${svg.length} bytes`);
} finally {
  await browser.close();
  for (const end of ends) await end();
}
