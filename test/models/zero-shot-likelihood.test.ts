// Zero-shot and few-shot classification by likelihood against Transformers: test/golden/golden_likelihood.py.
import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pipeline } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

interface Case {
  readonly template: string;
  readonly examples: readonly (readonly [text: string, label: string])[];
  readonly text: string;
  /** ln p of each label, and its tokens. */
  readonly sums: readonly number[];
  readonly tokens: readonly number[];
}

const test = suite('zero-shot by likelihood');
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});
const { labels, zeroShot } = JSON.parse(await readFile(goldenFile('likelihood.json'), 'utf8')) as {
  labels: string[];
  zeroShot: Case[];
};
const classify = await pipeline('zero-shot-classification');

const rules: Record<'none' | 'tokens' | 'bytes' | 'pmi', (given: Case, without: Case, k: number) => number> = {
  none: ({ sums }, _, k) => sums[k]!,
  tokens: ({ sums, tokens }, _, k) => sums[k]! / tokens[k]!,
  bytes: ({ sums }, _, k) => sums[k]! / Buffer.byteLength(labels[k]!),
  pmi: ({ sums }, without, k) => sums[k]! - without.sums[k]!,
};

for (const [name, rule] of Object.entries(rules) as [keyof typeof rules, (typeof rules)['none']][]) {
  test(`the scores of Transformers' likelihoods, ${name}`, async () => {
    for (const given of zeroShot.filter(({ text }) => text !== '')) {
      const without = zeroShot.find(
        ({ text, template, examples }) =>
          text === '' && template === given.template && examples.length === given.examples.length,
      )!;
      const values = labels.map((_, k) => Math.exp(rule(given, without, k)));
      const sum = values.reduce((a, b) => a + b);
      const found = await classify(given.text, labels, {
        promptTemplate: given.template,
        examples: given.examples.map(([text, label]) => ({ text, label })),
        normalization: name,
      });
      found.labels.forEach((label, place) => {
        const wanted = values[labels.indexOf(label)]! / sum;
        assert.ok(Math.abs(found.scores[place]! - wanted) < 1e-4, `${label}: ${found.scores[place]}, not ${wanted}`);
      });
      assert.equal([...found.labels].sort(), [...labels].sort());
      assert.ok(found.scores.every((score, i) => i === 0 || score <= found.scores[i - 1]!));
    }
  });
}

test('several texts at once have the scores that each has alone', async () => {
  const texts = zeroShot.map(({ text }) => text).filter(Boolean);
  const together = await classify(texts, labels.join(', '));
  for (const [i, text] of texts.entries()) {
    const alone = await classify(text, labels);
    assert.equal(together[i]!.labels, alone.labels);
    alone.scores.forEach((score, k) => assert.ok(Math.abs(score - together[i]!.scores[k]!) < 1e-5));
  }
  assert.equal(await classify([], labels), []);
});

test('bad input: one line that names the mend', async () => {
  const long = 'the captain of the ship '.repeat(60);
  await rejects(classify('a', ' , '), /there are no candidate labels/);
  await rejects(classify('a', 'b', { promptTemplate: '{label}: {text}' }), /must have \{text\} and after it \{label\}/);
  await rejects(classify('a', 'b', { promptTemplate: '{text}' }), /must have \{text\} and after it \{label\}/);
  await rejects(classify('a', 'b', { hypothesisTemplate: '{}' }), /hypothesisTemplate does nothing by likelihood/);
  await rejects(
    classify(['a', long], 'b'),
    /^text 1 has \d+ tokens with its prompt, .* at most 128; .*truncation: true$/,
  );
  const cut = await classify(long, ['war', 'peace'], { truncation: true });
  assert.ok(Math.abs(cut.scores.reduce((a, b) => a + b) - 1) < 1e-6);
  const entailment = await pipeline('zero-shot-classification', goldenFile('tiny-bert-tasks'));
  await rejects(entailment('a', 'b', { examples: [] }), /examples does nothing by entailment/);
});

test('a BERT fine-tuned on pairs with entailment is a model for it', async () => {
  const rows = ['fox', 'dog', 'man', 'book'].flatMap((word, i, all) =>
    ['ran', 'read', 'is in the house'].flatMap((verb) => [
      `the ${word} ${verb},this is the ${word},entailment`,
      `the ${word} ${verb},it is ${verb},neutral`,
      `the ${word} ${verb},this is the ${all[(i + 1) % 4]},contradiction`,
    ]),
  );
  const data = join(folder, 'nli.csv');
  writeFileSync(data, `premise,hypothesis,label\n${rows.join('\n')}\n`);
  const output = join(folder, 'nli');
  const columns = ['--text-column', 'premise', '--text-pair-column', 'hypothesis'];
  const model = ['--model', goldenFile('tiny-bert-qa'), '--epochs', '1', '--output', output];
  const done = await runScript(['train/finetune-classifier.ts', '--data', data, ...columns, ...model]);
  assert.is(done.code, 0, done.stderr);
  const entailment = await pipeline('zero-shot-classification', output);
  const { labels, scores } = await entailment('the fox ran', 'fox, dog', { hypothesisTemplate: 'this is the {}' });
  assert.equal([...labels].sort(), ['dog', 'fox']);
  assert.ok(Math.abs(scores[0]! + scores[1]! - 1) < 1e-6);
});

test('from the terminal, with examples of a file', async () => {
  const examples = join(folder, 'examples.csv');
  writeFileSync(examples, 'text,label\nThe storm sank the boat.,the sea\nThe tariff brings revenue.,taxes\n');
  const args = ['--labels', 'the sea, taxes', '--template', '{text}\\nIt is on {label}', '--examples', examples];
  const { code, stdout, stderr } = await runScript([
    'train/try.ts',
    'zero-shot-classification',
    ...args,
    'Ahab sailed.',
  ]);
  assert.is(code, 0, stderr);
  const [best] = await classify(['Ahab sailed.'], 'the sea, taxes', {
    promptTemplate: '{text}\nIt is on {label}',
    examples: [
      { text: 'The storm sank the boat.', label: 'the sea' },
      { text: 'The tariff brings revenue.', label: 'taxes' },
    ],
  });
  assert.match(stdout, new RegExp(`Ahab sailed\\.\n.*\n  ${best!.labels[0]} +${best!.scores[0]!.toFixed(3)}\n`));
});

test.run();
