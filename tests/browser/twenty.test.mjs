// The client at the top of docs/protocol.md, run as it stands there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { ROOT, until, World } from './world.mjs';

test('the client in twenty lines resumes', async (t) => {
  const world = new World(t);
  await world.broker();
  const gateway = await world.sluice('  - { topic: rooms/#, history: { count: 1000 } }');
  await world.publish('rooms/a', ['1'], { retain: true });
  await world.publish('rooms/b', ['2'], { retain: true });
  const text = /```js\n(.*?)```/s.exec(readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8'))[1];
  const seen = [], sockets = [];
  let ended = false;
  class Socket extends WebSocket {
    constructor(url) {
      super(url.replace('localhost:8080', `127.0.0.1:${gateway.port}`));
      this.on('error', () => {}); // as in a browser, where `onclose` follows
      sockets.push(this);
    }
  }
  const later = (work, ms) => ended || setTimeout(work, ms / 20);
  t.after(() => (ended = true, sockets.at(-1).terminate()));
  new Function('WebSocket', 'console', 'setTimeout', text)(Socket, { log: (...words) => seen.push(words.join(' ')) }, later);
  await until(() => seen.length === 2, 'the last values');
  for (let number = 0; number < 300; number += 25) {
    if (number % 100 === 50) sockets.at(-1).terminate(); // and messages go on
    await world.publish('rooms/n', Array.from({ length: 25 }, (_, i) => String(number + i + 1)));
  }
  await until(() => seen.includes('rooms/n 300'), 'the last message');
  assert.deepEqual(seen.filter((line) => line.startsWith('rooms/n ')), Array.from({ length: 300 }, (_, i) => `rooms/n ${i + 1}`));
  assert.equal(seen.filter((line) => line.startsWith('missed')).length, 0);
});
