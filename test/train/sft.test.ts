// train/sft.ts as a user runs it: on its own lessons, with a small GPT and on files that are wrong.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rolesTemplate } from '../../models/index.ts';
import { lessons } from '../../train/sft/lessons.ts';
import { loadConversations, textOf } from '../../train/sft/data.ts';
import { rejects } from '../support/failure.ts';
import { lessonFile, smallGpt } from '../support/lessons.ts';
import { refused, resumesAs, runScript } from '../support/script.ts';
import type { Finished, ScriptOptions } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('sft');
let folder = '';
temporaryFolder(test, (made) => (folder = made));

const run = (args: readonly string[], options?: ScriptOptions): Promise<Finished> =>
  runScript(['train/sft.ts', ...args], options);

for (const [name, args] of Object.entries({ whole: ['--learning-rate', '0.01'], adapter: ['--lora', '8'] }))
  test(`a decoder learns to answer; killed and resumed it is the same, to the bit: ${name}`, async () => {
    const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
    const [data, model] = [lessonFile(folder, 240), await smallGpt(folder)];
    const common = [
      ...['--data', data, '--model', model, '--epochs', '4', '--batch-size', '4', '--accumulate', '2'],
      ...['--save-every', '5', '--replies', '6', ...args],
    ];
    const [done] = await Promise.all([
      run([...common, '--output', whole]),
      run([...common, '--output', killed], { killAt: join(killed, 'checkpoint-5') }),
    ]);
    assert.is(done.code, 0, done.stderr);
    assert.match(
      done.stdout,
      /\d+ conversations to train, \d+ to validate, \d+ to test\n {7}\d+ tokens to train, \d+ of/,
    );
    const loss = (name: string): number => Number(new RegExp(`^${name} +([\\d.]+)`, 'm').exec(done.stdout)![1]);
    assert.match(
      done.stdout,
      /test, \d+ conversations, \d+ replies +loss +perplexity +right \(%\) +ROUGE-1 +ROUGE-2 +ROUGE-L\n/,
    );
    const report = readFileSync(join(whole, 'report.html'), 'utf8');
    assert.match(report, /<h2>Test<\/h2>[^]*>right \(%\)<[^]*>this model<[^]*<h2>Samples<\/h2>[^]*<small>before /);
    assert.is(existsSync(join(whole, 'adapter_model.safetensors')), name === 'adapter');
    // In so few steps an adapter of a model that knows nothing teaches it little.
    const share = name === 'whole' ? 0.75 : 1;
    assert.ok(loss('this model') < share * loss('the model it began as'), done.stdout);
    const config = JSON.parse(readFileSync(join(whole, 'tokenizer_config.json'), 'utf8')) as { chat_template: string };
    assert.is(config.chat_template, rolesTemplate);
    await resumesAs(whole, killed, () => run([...common, '--output', killed, '--resume']));
    const talked = await runScript(['train/chat.ts', '--model', whole, '--greedy', '--max-new-tokens', '4'], {
      input: 'What is a tape?\n',
    });
    assert.is(talked.code, 0, talked.stderr);
  });

test('what cannot be learnt is refused in a line, before anything is written', async () => {
  const data = join(folder, 'bad.jsonl');
  writeFileSync(data, '{"messages": [{"role": "user", "content": "a"}]}\n');
  const output = join(folder, 'none');
  refused(await run(['--data', data, '--output', output]), 1, /bad\.jsonl:1: no message of the assistant follows/);
  const long = join(folder, 'long.jsonl');
  const texts = lessons(60, 5).map(({ messages }) => messages.map(({ content }) => content).join(' '));
  texts[11] = 'a list '.repeat(90);
  writeFileSync(long, texts.map((text) => JSON.stringify({ text })).join('\n'));
  refused(
    await run(['--data', long, '--output', output]),
    1,
    /long\.jsonl:12: \d+ tokens, and a row has 128; allow longer rows, or say/,
  );
});

test("pairs are questions with their answers, beside their texts' first sentences", async () => {
  const before = process.env['XDG_CACHE_HOME'];
  const place = join(folder, 'cache/tapeform/packages/package-descriptions');
  mkdirSync(place, { recursive: true });
  writeFileSync(join(place, 'debian-package.json'), '{"name": "package-descriptions", "version": "a test"}');
  // Words of letters alone: texts that differ in numbers only are near duplicates.
  const word = (i: number): string => i.toString(26).replace(/\d/g, (digit) => 'qrstuvwxyz'[Number(digit)]!);
  const described = Array.from({ length: 200 }, (_, i) => {
    const long = Array.from({ length: 12 }, (_, k) => word(26 ** 3 + i * 12 + k)).join(' ');
    return `Package: ${word(26 ** 2 + i)}\nDescription-en: line ${i}\n It is ${i}. Of ${long}.\n`;
  });
  writeFileSync(join(place, 'descriptions.txt'), described.join('\n'));
  process.env['XDG_CACHE_HOME'] = join(folder, 'cache');
  const options = { seed: 1, instruction: 'In a line:', maxTrainSamples: 9, maxEvalSamples: 2 };
  const data = await loadConversations('debian-descriptions', options).finally(() => {
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
  });
  assert.equal(
    [data.train, data.validation, data.test].map(({ length }) => length),
    [9, 2, 2],
  );
  data.test.forEach((conversation, i) => {
    const [asked, answer] = 'messages' in conversation ? conversation.messages : [];
    const number = /^line (\d+)$/.exec(String(answer?.content))![1]!;
    assert.ok(String(asked?.content).startsWith(`In a line:\n\nIt is ${number}. `));
    assert.is(data.firstSentences![i], `It is ${number}.`);
  });
  await rejects(
    loadConversations(lessonFile(folder, 20), { seed: 1, instruction: 'x' }),
    /--instruction is said before texts of pairs; .* are whole conversations/,
  );
});

test('the lessons: equal seeds give equal ones, no question is in two parts', async () => {
  assert.equal(lessons(50, 3), lessons(50, 3));
  assert.not.equal(lessons(50, 3), lessons(50, 4));
  const { train, validation, test: held } = await loadConversations('lessons', { seed: 1 });
  const parts = [train, validation, held].map((part) => new Set(part.map(textOf)));
  for (const [i, part] of parts.entries())
    for (const other of parts.slice(i + 1)) assert.not([...part].some((text) => other.has(text)));
  assert.ok(train.length > 1000 && held.length > 100);
});

test.run();
