import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { GPT2LMHeadModel, loadTokenizer, Qwen2Config, Qwen2ForCausalLM } from '../../models/index.ts';
import { lossesIn, refused, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';

const test = suite('pretraining scripts');
const folder = mkdtempSync(join(tmpdir(), 'tapeform-pretrain-'));

/** Texts whose words come in a fixed order, of a hundred words. */
const words = Array.from({ length: 100 }, (_, i) => `${'bcdfglmnprst'[i % 12]}${'aeiou'[i % 5]}${'klmnrst'[i % 7]}`);
const prose = (start: number, count: number): string =>
  Array.from({ length: count }, (_, i) => `${words[(start + 7 * i) % 100]}${i % 9 === 8 ? '.' : ''}`).join(' ');
const file = join(folder, 'one.txt');
writeFileSync(file, prose(0, 3000));
const texts = join(folder, 'many.jsonl');
writeFileSync(
  texts,
  Array.from({ length: 60 }, (_, i) => `${JSON.stringify({ text: prose(3 * i, 40 + i) })}\n`).join(''),
);
const config = join(folder, 'small.json');
writeFileSync(
  config,
  JSON.stringify({ layers: 1, hidden: 16, heads: 2, context: 24, batchSize: 4, warmupSteps: 2, clean: false }),
);

const run = (script: string, args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript([`train/${script}.ts`, ...args], options);
const gpt = join(folder, 'gpt');

test(
  'pretrain-gpt: characters of one text; below the unigram baseline; ' +
    'Ctrl-C and --resume give the losses of a run never stopped',
  async () => {
    const args = [
      '--data',
      file,
      '--tokenizer',
      'char',
      '--config',
      config,
      '--steps',
      '60',
      '--learning-rate',
      '0.01',
    ];
    const whole = await run('pretrain-gpt', [...args, '--output', gpt]);
    assert.is(whole.code, 0, whole.stderr);
    const [, loss, baseline] = /^lm +([\d.]+) +[\d.]+ +([\d.]+)$/m.exec(whole.stdout)!.map(Number);
    assert.ok(loss! < 0.9 * baseline!, whole.stdout);
    const model = await GPT2LMHeadModel.fromPretrained(gpt);
    const tokenizer = await loadTokenizer(gpt);
    assert.is(model.config.vocabSize, tokenizer.vocabSize);
    assert.is(tokenizer.decode(tokenizer.idsOf('bak cal.')), 'bak cal.');

    const output = join(folder, 'stopped');
    let sent = false;
    const stopped = await run('pretrain-gpt', [...args, '--output', output], {
      onStderr: (text, interrupt) => {
        if (sent || !/step \d+\/60/.test(text)) return;
        sent = true;
        interrupt();
      },
    });
    assert.is(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /go on with: node --import tsx train\/pretrain-gpt\.ts .*--resume\n$/);
    refused(await run('pretrain-gpt', [...args, '--output', output]), 2, /holds a run that was stopped/);
    // Other texts are refused before the corpus of the run is replaced; the same, written anew, are not.
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('a', 'b'));
    refused(await run('pretrain-gpt', [...args, '--output', output, '--resume']), 1, /was made of other texts/);
    writeFileSync(file, text);
    const resumed = await run('pretrain-gpt', [...args, '--output', output, '--resume']);
    assert.is(resumed.code, 0, resumed.stderr);
    assert.equal(lossesIn(output), lossesIn(gpt));
  },
);

test('pretrain-gpt: byte-level BPE, a Llama with grouped queries, a text file and a table', async () => {
  const args = ['--data', texts, '--vocab-size', '300', '--architecture', 'llama', '--key-value-heads', '1'];
  const output = join(folder, 'llama');
  const done = await run('pretrain-gpt', [
    ...args,
    '--config',
    config,
    '--steps',
    '4',
    '--windows',
    'blocks',
    '--output',
    output,
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /LlamaForCausalLM/);
  assert.match(readFileSync(join(output, 'config.json'), 'utf8'), /"model_type": "llama"/);
});

const bert = join(folder, 'bert');

for (const [objective, ...more] of [
  ['mlm', '--whole-words'],
  ['mlm+nsp', '--no-pack'],
  ['nsp'],
  ['rotary-fill'],
] as const) {
  test(`pretrain-bert: ${objective}`, async () => {
    const output = objective === 'mlm' ? bert : join(folder, objective);
    const args = ['--data', texts, '--vocab-size', '130', '--objective', objective, ...more];
    const done = await run('pretrain-bert', [...args, '--config', config, '--steps', '4', '--output', output]);
    assert.is(done.code, 0, done.stderr);
    const parts = { mlm: ['mlm'], 'mlm+nsp': ['mlm', 'nsp'], nsp: ['nsp'], 'rotary-fill': ['fill', 'detect'] }[
      objective
    ];
    for (const part of parts) assert.match(done.stdout, new RegExp(`^${part} +\\d`, 'm'));
  });
}

test('adapt: old and new domain before and after, new words; both kinds of model', async () => {
  const small = ['--config', config, '--steps', '3', '--evaluation-batches', '2', '--context', '20'];
  const {
    layers: _,
    hidden: __,
    heads: ___,
    ...rest
  } = JSON.parse(readFileSync(config, 'utf8')) as Record<string, unknown>;
  writeFileSync(join(folder, 'adapt.json'), JSON.stringify(rest));
  small[1] = join(folder, 'adapt.json');
  const output = join(folder, 'adapted');
  const done = await run('adapt', [
    '--model',
    bert,
    '--data',
    texts,
    '--old-data',
    texts,
    '--new-words',
    '3',
    ...small,
    '--output',
    output,
  ]);
  assert.is(done.code, 0, done.stderr);
  assert.match(done.stdout, /^new +\d.*%$/m);
  assert.match(done.stdout, /^old +\d.*%$/m);
  const [before, after] = await Promise.all([loadTokenizer(bert), loadTokenizer(output)]);
  assert.is(after.vocabSize, before.vocabSize + 3);
  const causal = await run('adapt', [
    '--model',
    gpt,
    '--data',
    file,
    ...small,
    '--output',
    join(folder, 'adapted-gpt'),
  ]);
  assert.is(causal.code, 0, causal.stderr);
  assert.match(causal.stdout, /bits\/character/);
  const qwen = join(folder, 'qwen');
  const tokenizer = await loadTokenizer(gpt);
  const sizes = { hiddenSize: 16, intermediateSize: 24, numHiddenLayers: 1, numAttentionHeads: 2, numKeyValueHeads: 1 };
  const settings = Qwen2Config.create({ ...sizes, vocabSize: tokenizer.vocabSize, maxPositionEmbeddings: 24 });
  await new Qwen2ForCausalLM(settings).savePretrained(qwen, { tokenizer });
  const other = await run('adapt', [
    '--model',
    qwen,
    '--data',
    file,
    ...small,
    '--output',
    join(folder, 'adapted-qwen'),
  ]);
  assert.is(other.code, 0, other.stderr);
  assert.match(other.stdout, /Qwen2ForCausalLM/);
});

test('bad input: one line that names the mend', async () => {
  const empty = join(folder, 'empty.txt');
  writeFileSync(empty, '');
  const one = join(folder, 'single.txt');
  writeFileSync(one, prose(0, 400));
  mkdirSync(join(folder, 'nothing'));
  const small = ['--config', config, '--steps', '2', '--output', join(folder, 'bad')];
  const cases: readonly (readonly [script: string, args: readonly string[], code: number, pattern: RegExp])[] = [
    ['pretrain-gpt', ['--data', empty], 1, /empty\.txt/],
    ['pretrain-gpt', ['--data', join(folder, 'nothing')], 1, /nothing/],
    ['pretrain-gpt', ['--data', join(folder, 'absent.txt')], 1, /absent\.txt: no such file or folder/],
    ['pretrain-gpt', ['--hidden', '18', '--heads', '4'], 2, /--hidden 18 must be a multiple of --heads 4/],
    ['pretrain-gpt', ['--preset', 'huge'], 2, /--preset must be one of/],
    ['pretrain-gpt', ['--resume'], 2, /has no checkpoint to resume/],
    ['pretrain-gpt', ['--data', one, '--tokenizer', 'char', '--context', '5000'], 1, /tokens, but 5000 are needed/],
    ['pretrain-bert', ['--data', one, '--objective', 'nsp', '--vocab-size', '130'], 1, /needs two documents or more/],
    ['pretrain-bert', ['--data', texts, '--tokenizer', gpt], 2, /no WordPiece tokenizer/],
    ['pretrain-bert', ['--data', texts, '--positions', '8'], 2, /--positions 8 is less than the --context 24/],
    ['adapt', ['--model', join(folder, 'nowhere'), '--data', texts], 1, /nowhere does not exist/],
    ['adapt', ['--data', texts], 2, /--model is required/],
  ];
  for (const [script, args, code, pattern] of cases) {
    const rest = script === 'adapt' ? [] : small;
    // Later flags win, so that a case may replace what the file says.
    refused(await run(script, [...rest, ...args]), code, pattern);
  }
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
