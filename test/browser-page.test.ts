// What the page of examples/browser computes, in Node; in Chromium: npm run test:page.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { archive, read, resumeRun, startRun, train } from '../examples/browser/fine-tune.ts';
import type { Run } from '../examples/browser/fine-tune.ts';
import { sample } from '../examples/browser/sample.ts';
import { readRows } from '../examples/browser/table.ts';
import { memoryFolder } from '../models/index.ts';
import { shippedModel } from '../models/io/shipped.ts';

const test = suite('browser page');
const settings = { epochs: 2, batchSize: 8, learningRate: 1e-3, seed: 1 };
const nothing = (): void => undefined;

test('a run that was stopped ends with the losses of one that was not', async () => {
  const base = shippedModel('bert-small');
  const whole = await startRun(base, sample, settings);
  await train(whole, memoryFolder(), nothing, () => false);
  assert.is(whole.curve.losses.length, 10);
  assert.ok(whole.curve.losses.at(-1)! < whole.curve.losses[0]!);
  assert.equal(
    whole.curve.accuracies.map(({ step }) => step),
    [5, 10],
  );

  const folder = memoryFolder();
  assert.is(await resumeRun(folder), undefined);
  const first = await startRun(base, sample, settings);
  const isStopped = (run: Run) => (): boolean => run.curve.losses.length === 7;
  await train(first, folder, nothing, isStopped(first));
  const second = (await resumeRun(folder))!;
  assert.is(second.curve.losses.length, 7);
  await train(second, folder, nothing, () => false);
  assert.equal(second.curve, whole.curve);

  const { probabilities, tokens, attention } = await read(second, 'the captain paid the tax');
  assert.ok(Math.abs(probabilities.reduce((a, b) => a + b) - 1) < 1e-5);
  assert.is(tokens[0], '[CLS]');
  assert.equal(
    [attention.length, attention[0]!.length, attention[0]![0]!.length, attention[0]![0]![0]!.length],
    [2, 2, tokens.length, tokens.length],
  );
  assert.is(new TextDecoder().decode((await archive(second)).subarray(30, 50)), 'my-model/model.safet');
});

test('tables are CSV, TSV or JSONL, with columns by usual names', () => {
  const rows = [
    { text: 'a, "b"', label: 'x' },
    { text: 'c', label: '1' },
  ];
  assert.equal(readRows('Text,LABEL\n"a, ""b""",x\nc,1\n'), rows);
  assert.equal(readRows('\ufefflabel\tid\tsentence\nx\t7\ta, "b"\n1\t8\tc\n'), rows);
  assert.equal(readRows('{"text":"a, \\"b\\"","category":"x"}\n\n{"text":"c","category":1}'), rows);
});

const faults: readonly (readonly [source: string, says: RegExp])[] = [
  ['  \n', /^there are no texts yet$/],
  ['text,label\n', /^there is a header line and no row/],
  ['text,label\na,x\nb,x', /^all rows have the label "x"/],
  ['a,b\n1,2', /^line 2: no column named text, sentence, review, ... among a, b$/],
  ['text,label\na,x\n,y', /^line 3: text or label is empty$/],
  ['{"text":"a","label":"x"}\n{', /^line 2 is not JSON/],
  ['text,label\na,b,c', /^the table cannot be read \(.*line 2.*\)$/],
];
for (const [source, says] of faults)
  test(`a table is refused in a line: ${JSON.stringify(source)}`, () => {
    assert.throws(
      () => readRows(source),
      ({ message }: Error) => says.test(message) && !message.includes('\n'),
    );
  });

test.run();
