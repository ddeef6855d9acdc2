import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readLog, RunLog } from '../../train/trainer/run-log.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite("a run's log");

let path = '';
temporaryFolder(test, (folder) => void (path = join(folder, 'log.jsonl')));

const step = { step: 1, loss: 2, lr: 0.1, gradNorm: 1, tokens: 8, seconds: 1, time: 1 };
const evaluation = { step: 1, evaluation: { loss: 2 }, seconds: 1, time: 1 };
const good = JSON.stringify(step);

const damaged: readonly (readonly [name: string, line: string, problem: RegExp])[] = [
  ['null', 'null', /line 2 is no record of a run: "null"/],
  ['a number', '7', /line 2 is no record of a run/],
  ['a list', '[]', /line 2 is no record of a run/],
  ['an empty object', '{}', /line 2 is no record of a run \(step: /],
  ['a step of text', JSON.stringify({ ...step, step: '1' }), /\(step: /],
  ['a fractional step', JSON.stringify({ ...step, step: 1.5 }), /\(step: /],
  ['a loss of text', JSON.stringify({ ...step, loss: '2' }), /\(loss: /],
  ['losses of null', JSON.stringify({ ...step, losses: null }), /\(losses: /],
  ['a part that is a list', JSON.stringify({ ...step, losses: { mlm: [] } }), /\(losses\.mlm: /],
  ['no tokens', JSON.stringify({ ...step, tokens: undefined }), /\(tokens: /],
  ['an evaluation of text', JSON.stringify({ ...evaluation, evaluation: 'good' }), /\(evaluation: /],
  ['a time of null', JSON.stringify({ ...evaluation, time: null }), /\(time: /],
  ['half a line', '{"step": 1, "lo', /line 2 is no JSON/],
  ['a control character', '\x1b[2J', /line 2 is no JSON: "\\u001b\[2J"/],
];
for (const [name, line, problem] of damaged) {
  test(`refuses a line that is ${name}`, () => {
    writeFileSync(path, `${good}\n${line}\n${good}\n`);
    assert.throws(
      () => readLog(path),
      ({ message }: Error) => problem.test(message) && message.startsWith(path) && !message.includes('\n'),
    );
  });
}

test('a last line that a killed run left unfinished is passed over', () => {
  for (const rest of ['{"step": 2, "lo', '{"step": 2, "lo\n', '\0\0\0\n']) {
    writeFileSync(path, `${good}\n${rest}`);
    assert.equal(readLog(path), [step]);
  }
});

test('losses that are no numbers come back as NaN', async () => {
  const log = await RunLog.open(path);
  log.append({ ...step, loss: NaN, gradNorm: Infinity, losses: { mlm: NaN } });
  log.append({ ...evaluation, evaluation: { loss: NaN } });
  log.close();
  assert.equal(readLog(path), [
    { ...step, loss: NaN, gradNorm: NaN, losses: { mlm: NaN } },
    { ...evaluation, evaluation: { loss: NaN } },
  ]);
});

test.run();
