// The fine-tuning scripts with encoders of several families: they train, save folders that load again with
// their tokenizer, and go on after a stop.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pipeline, SentenceTransformer } from '../../models/index.ts';
import { goldenFile } from '../support/golden.ts';
import { resumesAs, runScript } from '../support/script.ts';

const test = suite('encoder families');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-families-'));
const names = ['fox', 'dog', 'man', 'hill', 'house', 'river', 'fire', 'book'];
const examples = Array.from({ length: 60 }, (_, i) => {
  const [a, b, c] = [names[i % 8]!, names[(3 * i + 1) % 8]!, names[(i >> 3) % 8]!];
  return { text: `the ${a} ran over the ${b} ${i}, a ${c}.`, other: `the ${b} and the ${c} ${i}`, beast: a };
});
const write = (name: string, rows: readonly object[]): string => {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => JSON.stringify(row) + '\n').join(''));
  return path;
};
const json = (...path: string[]): Record<string, unknown> =>
  JSON.parse(readFileSync(join(...path), 'utf8')) as Record<string, unknown>;
const short = ['--epochs', '1', '--batch-size', '8', '--max-length', '32'];

/** Runs a script on a tiny model of a family; the folder that it saved, with the model's own tokenizer. */
async function tuned(script: string, family: string, args: readonly string[]): Promise<string> {
  const output = join(folder, `${script}-${family}`);
  const model = goldenFile(`tiny-${family}-tasks`);
  const done = await runScript([`train/${script}.ts`, ...args, '--model', model, '--output', output, ...short]);
  assert.is(done.code, 0, done.stderr);
  assert.equal(json(output, 'tokenizer.json'), json(model, 'tokenizer.json'), 'tokenizer.json');
  const [saved, own] = [json(output, 'tokenizer_config.json'), json(model, 'tokenizer_config.json')];
  assert.is(saved['tokenizer_class'], own['tokenizer_class'], 'the class that Transformers loads');
  return output;
}

test('RoBERTa learns pairs with scores, and goes on after a stop with the losses of a whole run', async () => {
  const rows = examples.map(({ text, other }, i) => ({ text, other, label: (i % 8) / 8 }));
  const data = write('pairs.jsonl', rows);
  const args = ['--data', data, '--text-pair-column', 'other', '--task', 'regression', '--save-every', '2'];
  const whole = await tuned('finetune-classifier', 'roberta', args);
  const config = json(whole, 'config.json');
  assert.equal(config['architectures'], ['RobertaForSequenceClassification']);
  assert.is(config['problem_type'], 'regression');
  const stopped = join(folder, 'stopped');
  const model = goldenFile('tiny-roberta-tasks');
  const again = ['train/finetune-classifier.ts', ...args, '--model', model, '--output', stopped, ...short];
  await runScript(again, { killAt: join(stopped, 'checkpoint-2') });
  await resumesAs(whole, stopped, () => runScript([...again, '--resume']));
});

test('DeBERTa learns several labels at once', async () => {
  const rows = examples.map(({ text, beast }, i) => ({ text, label: i % 3 === 0 ? beast : `${beast}|odd` }));
  const data = write('labels.jsonl', rows);
  const output = await tuned('finetune-classifier', 'deberta-v2', ['--data', data, '--label-separator', '|']);
  const classify = await pipeline('text-classification', output);
  assert.is((await classify(['the fox'], { topK: null }))[0]!.length, 9);
});

test('ALBERT learns to answer questions', async () => {
  const rows = examples.map(({ text, beast }, i) => ({
    ...{ id: String(i), question: `who ran ${i}?`, context: text },
    answers: { text: [beast], answer_start: [text.indexOf(beast)] },
  }));
  const data = write('questions.jsonl', rows);
  const output = await tuned('finetune-qa', 'albert', ['--data', data, '--doc-stride', '4']);
  const answer = await pipeline('question-answering', output);
  const found = await answer({ question: 'who?', context: 'the fox ran' });
  assert.is('the fox ran'.slice(found.start, found.end), found.answer);
});

test('RoBERTa learns to label words, whose tokens begin with a space', async () => {
  const rows = examples.map(({ text, beast }) => {
    const start = text.indexOf(beast);
    return { text, spans: [{ start, end: start + beast.length, label: 'BEAST' }] };
  });
  const output = await tuned('finetune-tokens', 'roberta', ['--data', write('spans.jsonl', rows)]);
  assert.equal(json(output, 'config.json')['id2label'], { 0: 'O', 1: 'B-BEAST', 2: 'I-BEAST' });
});

test('MPNet and DistilBERT learn vectors of texts, with the dropout that is asked for', async () => {
  const data = write('vectors.jsonl', examples);
  const columns = ['--data', data, '--anchor-column', 'text', '--positive-column', 'other', '--dropout', '0.2'];
  for (const [family, key] of [
    ['mpnet', 'hidden_dropout_prob'],
    ['distilbert', 'dropout'],
  ] as const) {
    const output = await tuned('train-embeddings', family, columns);
    assert.is(json(output, 'config.json')[key], 0.2, family);
    const [vector] = await (await SentenceTransformer.fromPretrained(output)).encode(['the fox']);
    assert.is(vector!.length, 8);
  }
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();
