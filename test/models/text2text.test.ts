// Texts for texts, by encoder-decoders of every family with their tokenizers, against Transformers: the
// golden files are made by test/golden/golden_text2text.py.
import { readFile } from 'node:fs/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { generateText, loadTextGenerator, pipeline } from '../../models/index.ts';
import type { GenerationOptions, Text2TextOptions } from '../../models/index.ts';
import { textTemplate, withTemplate } from '../../models/generation/source-text.ts';
import { camelCase } from '../../models/names.ts';
import type { ClassLabel } from '../../models/pipelines/text-classification.ts';
import type { ZeroShotLabels } from '../../models/pipelines/zero-shot-classification.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';

interface FamilyGolden {
  readonly sources: number[][];
  readonly targets: number[][];
  readonly translated?: number[][];
  readonly languages?: { readonly src_lang: string; readonly tgt_lang: string };
  readonly runs: readonly { readonly task: string; readonly texts: string[]; readonly options?: object }[];
}

const {
  text: texts,
  labels,
  ...families
} = JSON.parse(await readFile(goldenFile('text2text.json'), 'utf8')) as {
  readonly text: string[];
  readonly labels: { readonly zeroShot: ZeroShotLabels[]; readonly texts: ClassLabel[][] };
} & Readonly<Record<string, FamilyGolden>>;
const folderOf = (name: string): string => goldenFile(`tiny-text2text/${name}`);
const quiet = { log: (): void => undefined };

const test = suite('texts for texts');
for (const [name, { sources, targets, translated, languages, runs }] of Object.entries(families)) {
  const [srcLang, tgtLang] = [languages?.src_lang, languages?.tgt_lang];

  test(`${name}: the tokens around sources and targets`, async () => {
    const { model, tokenizer } = await loadTextGenerator(folderOf(name), quiet);
    const ids = (language?: string, option?: 'srcLang' | 'tgtLang'): number[][] => {
      const template = textTemplate(model, tokenizer, language, option);
      return texts.map((text) => withTemplate(template, tokenizer.idsOf(text)));
    };
    assert.equal(ids(), sources);
    assert.equal(ids(tgtLang, 'tgtLang'), targets);
    if (translated) assert.equal(ids(srcLang), translated);
  });

  test(`${name}: what pipelines write`, async () => {
    for (const { task, texts: wanted, options = {} } of runs) {
      const named = /^translation_(..)_to_(..)$/.exec(task);
      const kind = (named ? 'translation' : task) as 'translation' | 'summarization' | 'text2text-generation';
      const write = await pipeline(kind, folderOf(name), quiet);
      const given: Text2TextOptions = {
        ...(named ? { srcLang: named[1]!, tgtLang: named[2]! } : { srcLang, tgtLang }),
        ...Object.fromEntries(Object.entries(options).map(([key, value]) => [camelCase(key), value as unknown])),
        batchSize: 3,
      };
      const written = await write(texts, given);
      assert.equal(
        written.map((result) => Object.values(result)[0]),
        wanted,
        `${task} ${JSON.stringify(options)}`,
      );
      const [key] = Object.keys(written[0]!);
      assert.is(
        key,
        { translation: 'translation_text', summarization: 'summary_text' }[kind as string] ?? 'generated_text',
      );
    }
  });
}

test("a BART for labels of texts gives those of Transformers' pipelines", async () => {
  const near = (found: readonly number[], wanted: readonly number[]): void =>
    wanted.forEach((score, i) => assert.ok(Math.abs(found[i]! - score) <= 1e-4, `${found[i]}, expected ${score}`));
  const zeroShot = await pipeline('zero-shot-classification', folderOf('bart-labels'), quiet);
  const found = await zeroShot(texts.slice(0, 2), ['the fox', 'the dog', 'a']);
  labels.zeroShot.forEach((wanted, i) => {
    assert.equal(found[i]!.labels, wanted.labels);
    near(found[i]!.scores, wanted.scores);
  });
  const classify = await pipeline('text-classification', folderOf('bart-labels'), quiet);
  const all = await classify(texts, { topK: null });
  labels.texts.forEach((wanted, i) => {
    assert.equal(
      all[i]!.map(({ label }) => label),
      wanted.map(({ label }) => label),
    );
    near(
      all[i]!.map(({ score }) => score),
      wanted.map(({ score }) => score),
    );
  });
});

test('generateText reads sources with the same tokens around them', async () => {
  const { model, tokenizer, options: recommended } = await loadTextGenerator(folderOf('bart'), quiet);
  const { texts: wanted, options } = families['bart']!.runs.at(-1)!;
  const given = Object.fromEntries(Object.entries(options!).map(([key, value]) => [camelCase(key), value as unknown]));
  const written = await generateText(model, tokenizer, texts, { ...recommended, ...(given as GenerationOptions) });
  assert.equal(
    written.map(({ text }) => text),
    wanted,
  );
});

test('a source that is too long keeps the tokens around it', () => {
  const template = { before: [0], after: [2, 9] };
  assert.equal(withTemplate(template, [4, 5, 6, 7], 5), [0, 4, 5, 2, 9]);
  assert.equal(withTemplate(template, [4, 5], 5), [0, 4, 5, 2, 9]);
});

test('a signal ends the work between batches', async () => {
  const write = await pipeline('summarization', folderOf('t5'), quiet);
  const abort = new AbortController();
  const onProgress = (): void => abort.abort(new Error('enough'));
  await rejects(write(texts, { batchSize: 2, signal: abort.signal, onProgress }), /^enough$/);
});

test('languages that are unknown, or missing, are one line', async () => {
  const mbart = await pipeline('translation', folderOf('mbart'), quiet);
  const marian = await pipeline('translation', folderOf('marian'), quiet);
  await rejects(mbart('a', { srcLang: 'en', tgtLang: 'de_DE' }), /srcLang is "en", .* code .* such as "en_XX"/);
  await rejects(mbart('a', { srcLang: 'en_XX', tgtLang: 'german' }), /tgtLang is "german", which is no special token/);
  await rejects(mbart('a', { srcLang: 'en_XX' }), /nothing says which one to write; give tgtLang/);
  await rejects(marian('a', { tgtLang: 'de' }), /tgtLang is "de", but the tokenizer puts no language around texts/);
  const { model, tokenizer } = marian;
  throwsOneLine(() => textTemplate(model, tokenizer, 'fr'), /srcLang is "fr", but the tokenizer puts no language/);
});

test.run();
