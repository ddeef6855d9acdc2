import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { pipeline, pipelineTasks } from '../../models/index.ts';
import type { PipelineTask } from '../../models/index.ts';
import type { AggregationStrategy } from '../../models/pipelines/token-classification.ts';
import { goldenFile } from '../support/golden.ts';
import { near } from '../support/near.ts';
import { rejects } from '../support/failure.ts';

type Options = Readonly<Record<string, unknown>>;
interface Golden {
  readonly texts: string[];
  readonly long: string;
  readonly pairs: { readonly text: string; readonly text_pair: string }[];
  readonly masked: string[];
  readonly textClassification: { readonly options: Options; readonly texts: unknown; readonly pairs: unknown }[];
  readonly tokenClassification: {
    readonly strategy: AggregationStrategy;
    readonly texts: unknown[];
    readonly kept: unknown;
    readonly long: unknown;
  }[];
  readonly fillMask: { readonly options: Options; readonly results: unknown[] }[];
  readonly features: unknown[];
  readonly zeroShot: {
    readonly options: Options & { candidate_labels: string | string[] };
    readonly results: unknown;
  }[];
}

const test = suite('pipelines');
const golden = JSON.parse(readFileSync(goldenFile('pipelines.json'), 'utf8')) as Golden;
const folder = goldenFile('tiny-bert-tasks');
const quiet = { log: () => undefined };
const camel = (options: Options): Record<string, never> =>
  Object.fromEntries(
    Object.entries(options).map(([name, value]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      value as never,
    ]),
  );

test('text-classification', async () => {
  const classify = await pipeline('text-classification', folder, quiet);
  for (const { options, texts, pairs } of golden.textClassification) {
    const name = JSON.stringify(options);
    near(await classify(golden.texts, camel(options)), texts, name);
    const own = golden.pairs.map(({ text, text_pair: textPair }) => ({ text, textPair }));
    near(await classify(own, camel(options)), pairs, name);
  }
  const [first] = golden.textClassification;
  near(await classify(golden.texts[1]!), [(first!.texts as unknown[])[1]], 'one text');
  assert.equal(await classify([]), []);
  const long = 'fox '.repeat(200);
  await rejects(classify(['fox', long]), /text 1 has 202 tokens, and the model reads at most 128; .* truncation: true/);
  assert.is((await classify(long, { truncation: true })).length, 1);
  await rejects(classify('fox', { topK: 0 }), /topK must be a whole number of at least 1, or null for all, got 0/);
});

test('token-classification', async () => {
  const label = await pipeline('token-classification', folder, quiet);
  for (const { strategy, texts, kept, long } of golden.tokenClassification) {
    near(await label(golden.texts, { aggregationStrategy: strategy, batchSize: 2 }), texts, strategy);
    near(await label(golden.texts[0]!, { aggregationStrategy: strategy, ignoreLabels: [] }), kept, strategy);
    if (long) near(await label(golden.long, { aggregationStrategy: strategy, stride: 20 }), long, `${strategy} long`);
  }
  for (const { start, end, word } of await label(golden.texts[0]!, { aggregationStrategy: 'first' }))
    assert.is(golden.texts[0]!.slice(start, end).toLowerCase().replace(/\s/g, ''), word.replace(/\s/g, ''));
  await rejects(label('x', { stride: 3 }), /stride needs an aggregationStrategy other than none/);
  await rejects(label('x', { aggregationStrategy: 'last' as 'first' }), /unknown aggregationStrategy "last"/);
  await rejects(label(golden.long.repeat(2)), /text 0 has \d+ tokens, and the model reads at most 128/);
});

test('fill-mask', async () => {
  const fill = await pipeline('fill-mask', folder, quiet);
  for (const { options, results } of golden.fillMask) {
    // Which of equal targets comes first is left open there: the order of a set.
    near(await fill(golden.masked, camel(options)), results, JSON.stringify(options));
    near(await fill(golden.masked[0]!, camel(options)), results[0], JSON.stringify(options));
  }
  await rejects(fill(['[MASK]', 'no mask']), /text 1 has no \[MASK\]: "no mask"/);
  await rejects(fill('[MASK]', { targets: [] }), /targets is empty/);
});

test('feature-extraction, pooled too, and sentence-similarity', async () => {
  const extract = await pipeline('feature-extraction', folder, quiet);
  near(await extract(golden.texts.slice(0, 2)), golden.features, 'features');
  const [tokens] = await extract(golden.texts[0]!);
  const mean = await extract(golden.texts.slice(0, 2), { pooling: 'mean', normalize: true });
  const sums = tokens![0]!.map((_, d) => tokens!.reduce((sum, token) => sum + token[d]!, 0));
  const norm = Math.hypot(...sums);
  near(
    Array.from(mean[0]!),
    sums.map((x) => x / norm),
    'mean',
  );
  near(Array.from(await extract(golden.texts[0]!, { pooling: 'cls' })), tokens![0], 'cls');
  const compare = await pipeline('sentence-similarity', folder, quiet);
  const [source, ...sentences] = golden.texts as [string, ...string[]];
  const alike = await compare({ source_sentence: source, sentences: [source, ...sentences] });
  near(alike[0], 1 - 1e-7, 'itself');
  near(alike[1], mean[0]!.reduce((sum, x, i) => sum + x * (mean[1]![i] ?? 0), 0) + 1e-9, 'another');
});

test('zero-shot-classification', async () => {
  const classify = await pipeline('zero-shot-classification', folder, quiet);
  for (const { options, results } of golden.zeroShot) {
    const { candidate_labels: candidates, ...others } = options;
    near(await classify(golden.texts.slice(0, 3), candidates, camel(others)), results, JSON.stringify(options));
  }
  await rejects(classify('x', ' , '), /there are no candidate labels/);
  await rejects(classify('x', 'a', { hypothesisTemplate: 'it is' }), /hypothesisTemplate "it is" has no \{\}/);
});

test('text-generation goes on with a prompt, in pieces too, until it is told to stop', async () => {
  const generate = await pipeline('text-generation');
  const options = { maxNewTokens: 6, doSample: false };
  const prompt = 'The state of the';
  const [whole] = await generate(prompt, options);
  assert.ok(whole!.generated_text.startsWith(prompt));
  const [rest] = await generate(prompt, { ...options, returnFullText: false });
  assert.is(prompt + rest!.generated_text, whole!.generated_text);
  const pieces: string[] = [];
  for await (const piece of generate.stream(prompt, options)) pieces.push(piece);
  assert.is(pieces.join(''), rest!.generated_text);
  const both = await generate([prompt, prompt], options);
  assert.equal(both, [[whole!], [whole!]]);
  const stop = new AbortController();
  await rejects(
    (async () => {
      for await (const _ of generate.stream(prompt, { ...options, signal: stop.signal }))
        stop.abort(new Error('enough'));
    })(),
    /enough/,
  );
});

test('pipelines stop between batches when they are told to', async () => {
  const classify = await pipeline('text-classification', folder, quiet);
  await rejects(classify(golden.texts, { signal: AbortSignal.abort(new Error('enough')) }), /enough/);
});

test('the small translator that comes with the project', async () => {
  const translate = await pipeline('translation');
  const [first] = await translate(['Click OK to close the dialog.']);
  assert.match(first!.translation_text, /^Cliquez sur OK pour fermer la boîte de dialogue/);
});

test('what cannot be done is said in one line', async () => {
  await rejects(pipeline('ner' as PipelineTask), /unknown task "ner"; use one of text-classification, token-/);
  await rejects(
    pipeline('summarization'),
    /no model for summarization comes with the project; name one \(train\/train-summarization/,
  );
  await rejects(
    pipeline('text-classification', goldenFile('tiny-bert'), quiet),
    /holds a "BertForPreTraining" without the head of BertForSequenceClassification \(newly initialised: .*fine-tune/,
  );
  await rejects(
    pipeline('fill-mask', goldenFile('tiny-gpt2'), quiet),
    /no model of the kind MaskedLM is here for model_type "gpt2"; its classes here are /,
  );
  assert.is(pipelineTasks.length, 14);
});

test.run();
