// client/api/: the linter that we did not write has nothing to say of the descriptions. That they are true, test_openapi.py finds.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createConfig, lintFromString } from '@redocly/openapi-core';
import { ROOT } from './world.mjs';

async function lint(name, change = (text) => text) {
  const source = change(readFileSync(join(ROOT, 'client/api', name), 'utf8'));
  // /healthz and its like have no errors of a client; who may use /ws is said by its first frame.
  const config = await createConfig({ extends: ['recommended'], rules: { 'operation-4xx-response': 'off', ...(name === 'asyncapi.json' && { 'security-defined': 'off' }) } });
  const found = await lintFromString({ source, absoluteRef: name, config });
  return found.map(({ ruleId, message, location }) => `${ruleId}: ${message} ${location[0].pointer}`);
}

for (const name of ['openapi.json', 'asyncapi.json']) {
  test(`${name} is valid`, async () => assert.deepEqual(await lint(name), []));
}

test('the linter finds what is wrong', async () => {
  assert.match((await lint('openapi.json', (text) => text.replace('#/components/schemas/Poll', '#/components/schemas/Pol'))).join(), /no-unresolved-refs/);
  assert.match((await lint('asyncapi.json', (text) => text.replace('"address": "/ws"', '"adress": "/ws"'))).join(), /adress/);
});
