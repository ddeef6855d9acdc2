import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hubTimeout } from '../../models/io/hub-http.ts';
import { hubFaults, playHubFault, playRedirect } from '../faults/lying-hub.ts';

const test = suite('lying hub');

for (const fault of hubFaults) test(fault.name, async () => assert.is(await playHubFault(fault), null));

test('a redirect to another host does not carry the token', async () => assert.is(await playRedirect(), null));

test('the time to wait is checked', () => {
  assert.is(hubTimeout({}), 10_000);
  assert.is(hubTimeout({ HF_HUB_DOWNLOAD_TIMEOUT: '2.5' }), 2500);
  for (const bad of ['0', '-1', 'x', 'NaN', 'Infinity', '1e9'])
    assert.throws(() => hubTimeout({ HF_HUB_DOWNLOAD_TIMEOUT: bad }), /give seconds above 0/);
});

test.run();
