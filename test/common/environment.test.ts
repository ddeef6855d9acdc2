import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkEnvironment } from '../../common/environment.ts';
import { hubIsOffline } from '../../models/io/hub-cache.ts';
import { refused, runScript } from '../support/script.ts';

const test = suite('values of environment variables');

const wrong: readonly (readonly [name: string, value: string, says: RegExp])[] = [
  ['TAPEFORM_DRIVER', 'mesa', /^TAPEFORM_DRIVER=mesa: give system, software or swiftshader, or unset it$/],
  ['TAPEFORM_QUIET', 'yes', /^TAPEFORM_QUIET=yes: give 1 or 0, or unset it$/],
  ['TAPEFORM_DEBUG', '5', /^TAPEFORM_DEBUG=5: give 1 \(ops\), /],
  ['TAPEFORM_DEBUG', '1e0', /^TAPEFORM_DEBUG=1e0: /],
  ['TAPEFORM_BINDING_LIMIT', '-1', /^TAPEFORM_BINDING_LIMIT=-1: give a number of bytes/],
  ['HF_HUB_OFFLINE', 'maybe', /^HF_HUB_OFFLINE=maybe: give 1, on, yes or true \(or 0, /],
  ['TRANSFORMERS_OFFLINE', '\x1b[2J', /^TRANSFORMERS_OFFLINE=\\x1b\[2J: /],
  ['HF_ENDPOINT', 'file:///etc', /^HF_ENDPOINT=file:\/\/\/etc: give an address/],
];
for (const [name, value, says] of wrong)
  test(`refuses ${name}=${JSON.stringify(value)}`, () => {
    const refusing = ({ message }: Error): boolean => says.test(message);
    assert.throws(() => checkEnvironment({ [name]: value }), refusing);
  });

test('takes the others', () => {
  checkEnvironment({});
  checkEnvironment({ TAPEFORM_DRIVER: '', TAPEFORM_QUIET: '0', TAPEFORM_DEBUG: '4', HF_HUB_OFFLINE: 'TRUE' });
  checkEnvironment({ TAPEFORM_BINDING_LIMIT: '16384', HF_ENDPOINT: 'http://127.0.0.1:8080/hub', HOME: '\x1b' });
  assert.is(hubIsOffline({ HF_HUB_OFFLINE: 'On' }), true);
  assert.is(hubIsOffline({ HF_HUB_OFFLINE: 'no' }), false);
  assert.throws(() => hubIsOffline({ HF_HUB_OFFLINE: 'flase' }), /HF_HUB_OFFLINE=flase/);
});

test('a script ends in one line; what it prints of arguments cannot steer the terminal', async () => {
  refused(
    await runScript(['train/export.ts', '--help'], { env: { HF_HUB_OFFLINE: 'maybe' } }),
    1,
    /^HF_HUB_OFFLINE=maybe: give/,
  );
  const run = await runScript(['train/export.ts', '--model', '\x1b[2Jno\nfolder\x9b', '--output', 'x']);
  refused(run, 2, /there is no file or folder \\x1b\[2Jno/);
  assert.not.match(run.stderr, /[\x1b\x9b]/);
});

test.run();
