// BART, T5, Pegasus, mBART and Marian fine-tuned by the scripts for pairs; PyTorch's losses are made by
// test/golden/golden_text2text.py.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadTextGenerator, pipeline } from '../../models/index.ts';
import { loadSeq2Seq, tokenisePairs } from '../../train/seq2seq/model.ts';
import { toDevice } from '../../train/objectives/task.ts';
import { seq2seqTask } from '../../train/seq2seq/task.ts';
import { AdamW, decayGroups } from '../../train/optim/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { checkLoss } from '../support/model-golden.ts';
import { lossesIn, refused, resumesAs, runScript } from '../support/script.ts';

interface Golden {
  readonly losses: number[];
  readonly languages?: { readonly src_lang: string; readonly tgt_lang: string };
}

const {
  text: texts,
  labels: _,
  ...families
} = JSON.parse(readFileSync(goldenFile('text2text.json'), 'utf8')) as {
  readonly text: string[];
  readonly labels: unknown;
} & Readonly<Record<string, Golden>>;
const folderOf = (name: string): string => goldenFile(`tiny-text2text/${name}`);
const pairs = texts.map((source, i) => ({ source, target: texts.at(-1 - i)! }));

const test = suite('families of encoder-decoders');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-families-'));
test.after(() => rmSync(folder, { recursive: true }));

for (const [name, { losses, languages }] of Object.entries(families))
  test(`${name}: five steps on pairs of texts have the losses of PyTorch`, async () => {
    const [srcLang, tgtLang] = [languages?.src_lang, languages?.tgt_lang];
    const options = { dropout: 0, task: 'summarization', sourcePrefix: '', srcLang, tgtLang };
    const seq2seq = await loadSeq2Seq(folderOf(name), options);
    const model = seq2seq.model.train();
    const { pairs: read, tooLong } = tokenisePairs(seq2seq, pairs, 64);
    assert.is(tooLong, 0);
    const { padTokenId } = model.config;
    const task = seq2seqTask({ model, pairs: read, maxTokens: 1024, padTokenId, seed: 1 });
    assert.is(task.batchesPerEpoch, 1);
    const optimizer = new AdamW(decayGroups(model.namedParameters(), 0.1), { lr: 1e-3, betas: [0.9, 0.95] });
    for (const expected of losses) {
      const { loss } = task.losses(toDevice(await task.batch(0)));
      loss!.backward();
      optimizer.step();
      optimizer.zeroGrad();
      await checkLoss(loss!, expected, 1e-4);
    }
  });

const data = join(folder, 'pairs.jsonl');
const words = texts.slice(0, 3).flatMap((text) => text.split(' '));
const rows = Array.from({ length: 48 }, (_, i) => {
  const said = Array.from({ length: 3 + (i % 3) }, (_, k) => words[(7 * i + 5 * k) % words.length]!);
  return { source: said.join(' '), target: said.toReversed().join(' '), page: String(i) };
});
writeFileSync(data, rows.map((row) => JSON.stringify(row)).join('\n'));
const pace = '--steps 8 --warmup-steps 2 --max-tokens 256 --max-length 48 --save-every 3 --evaluate-every 8 --beams 2';
const common = ['--data', data, '--group-column', 'page', ...pace.split(' '), '--evaluation-pairs', '2'];
const summarise = ['train/train-summarization.ts', ...common, '--model'];
const translate = ['train/train-translation.ts', ...common, '--model'];
const settingsOf = (output: string, file: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(output, file), 'utf8')) as Record<string, unknown>;

test('a T5 learns with its prefix; killed and resumed it is the same, bit for bit', async () => {
  const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
  const done = await runScript([...summarise, folderOf('t5'), '--output', whole]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /T5ForConditionalGeneration, 1 \+ 1 layers, 8 wide/);
  assert.is(lossesIn(whole).length, 8);
  await runScript([...summarise, folderOf('t5'), '--output', killed], { killAt: join(killed, 'checkpoint-3') });
  await resumesAs(whole, killed, () => runScript([...summarise, folderOf('t5'), '--output', killed, '--resume']));

  assert.equal(settingsOf(whole, 'config.json')['task_specific_params'], { summarization: { prefix: 'summarize: ' } });
  const summary = await pipeline('summarization', whole, { log: () => undefined });
  const written = readFileSync(join(whole, 'test.jsonl'), 'utf8').trim().split('\n');
  for (const { source, written: text } of written.map((row) => JSON.parse(row) as Record<string, string>))
    assert.equal(await summary(source!, { truncation: true }), [{ summary_text: text }]);
  const other = await runScript([
    ...summarise,
    folderOf('t5'),
    '--output',
    whole,
    '--resume',
    '--source-prefix',
    'x: ',
  ]);
  refused(other, 1, /prefix/);
});

test('an mBART learns between the languages that are named, and writes the second', async () => {
  const output = join(folder, 'mbart');
  const run = (...more: string[]) => runScript([...translate, folderOf('mbart'), '--output', output, ...more]);
  refused(await run('--src-lang', 'fr_XX'), 1, /nothing says which one to write; give tgtLang/);
  refused(await run('--src-lang', 'fr', '--tgt-lang', 'de_DE'), 1, /srcLang is "fr", which is no special token/);
  const done = await run('--src-lang', 'fr_XX', '--tgt-lang', 'de_DE');
  assert.is(done.code, 0, done.stderr);
  const { tokenizer, options } = await loadTextGenerator(output);
  assert.is(options.forcedBosTokenId, tokenizer.tokenToId('de_DE'));
  assert.equal(tokenizer.languages, { source: 'fr_XX', target: 'de_DE' });
});

test('a BART goes on as it is', async () => {
  const output = join(folder, 'bart');
  const done = await runScript([...summarise, folderOf('bart'), '--output', output]);
  assert.is(done.code, 0, done.stderr);
  const { model_type: type, task_specific_params: tasks } = settingsOf(output, 'config.json');
  assert.equal([type, tasks], ['bart', undefined]);
  assert.is(settingsOf(output, 'generation_config.json')['forced_eos_token_id'], 2);
});

test('what does not fit is one line', async () => {
  const output = join(folder, 'refused');
  const run = (...more: string[]) => runScript([...summarise, folderOf('bart'), '--output', output, ...more]);
  refused(await run('--max-length', '65'), 2, /--max-length 65 is more than the 64 positions of the model; lower it/);
  const made = ['train/train-summarization.ts', ...common, '--output', output, '--source-prefix', 'summarize: '];
  refused(await runScript(made), 2, /--source-prefix is for a model to go on with/);
  const foreign = join(folder, 'foreign');
  cpSync(folderOf('bart'), foreign, { recursive: true });
  writeFileSync(join(foreign, 'config.json'), '{"model_type": "bert"}');
  const options = { dropout: 0, task: 'summarization' };
  await rejects(loadSeq2Seq(foreign, options), /"bert", which is no encoder-decoder .*; use one of bart, marian/);
});

test.run();
