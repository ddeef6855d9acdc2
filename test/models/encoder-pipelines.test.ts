// Pipelines, rows of tokens and training of every family of encoders against what
// test/golden/golden_encoder_pipelines.py wrote.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tensor } from '../../autograd/index.ts';
import { loadTextEncoder, loadTokenizer, paddingOf, pipeline, rowLimits } from '../../models/index.ts';
import type { Answer, AnyTokenizer, EncodeOptions, TextBatch } from '../../models/index.ts';
import { AdamW } from '../../train/optim/index.ts';
import { collate } from '../../train/data/tokenised.ts';
import { near } from '../support/near.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const families = ['distilbert', 'electra', 'mpnet', 'roberta', 'albert', 'deberta-v2'];
const quiet = { log: () => undefined };

interface Row {
  readonly ids: number[];
  readonly mask: number[];
  readonly special: number[];
  readonly words: number[];
  readonly sequences: number[];
  /** null for tokenizers of models without types. */
  readonly types: number[] | null;
  readonly offsets: [number, number][];
}
interface Options {
  readonly padding?: boolean;
  readonly truncation?: EncodeOptions['truncation'];
  readonly max_length?: number;
  readonly stride?: number;
  readonly return_overflowing_tokens?: boolean;
  readonly add_special_tokens?: boolean;
}
interface Golden {
  readonly texts: string[];
  readonly long: string;
  readonly middle: string;
  readonly pairs: { readonly text: string; readonly text_pair: string }[];
  readonly rows: { readonly options: Options; readonly rows: Row[] }[];
  readonly pairRows: { readonly options: Options; readonly rows: Row[] }[];
  readonly classified: [unknown[], unknown[]];
  readonly labelled: Record<'none' | 'simple' | 'first' | 'average' | 'max', unknown[]>;
  readonly longLabelled: unknown;
  readonly masked: string[];
  readonly filled: unknown[];
  readonly targets: unknown;
  readonly features: unknown[];
  readonly zeroShot: unknown;
  readonly losses: number[];
}
interface Answers {
  readonly questions: [question: string, context: string][];
  readonly options: Record<string, never>[];
  readonly answers: Record<string, { score: number; start: number; end: number; answer: string }[][][]>;
}

const read = (name: string): unknown => JSON.parse(readFileSync(goldenFile(name), 'utf8'));
const answers = read('encoder-answers.json') as Answers;
const test = suite('encoder pipelines');
let temporary = '';
temporaryFolder(test, (path) => (temporary = path));

/** The rows of a batch by the names of the golden; types where it has some. */
function rowsOf(tokenizer: AnyTokenizer, batch: TextBatch, options: Options, hasTypes: boolean): Row[] {
  const encoded = tokenizer.encodeToArrays(batch, {
    ...(options.padding === undefined ? {} : { padding: options.padding }),
    ...(options.truncation === undefined ? {} : { truncation: options.truncation }),
    ...(options.max_length === undefined ? {} : { maxLength: options.max_length }),
    ...(options.stride === undefined ? {} : { stride: options.stride }),
    ...(options.return_overflowing_tokens === undefined ? {} : { returnOverflowingTokens: true }),
    ...(options.add_special_tokens === undefined ? {} : { addSpecialTokens: false }),
    ...{ returnOffsets: true, returnSpecialTokensMask: true, returnWordIds: true, returnSequenceIds: true },
  });
  const [count, width] = encoded.shape;
  return Array.from({ length: count }, (_, row): Row => {
    const own = (values: Int32Array): number[] => Array.from(values.subarray(row * width, (row + 1) * width));
    return {
      ids: own(encoded.inputIds),
      mask: own(encoded.attentionMask),
      special: own(encoded.specialTokensMask!),
      words: own(encoded.wordIds!),
      sequences: own(encoded.sequenceIds!),
      types: hasTypes ? own(encoded.tokenTypeIds) : null,
      offsets: Array.from({ length: width }, (_, i): [number, number] => [
        encoded.offsets![2 * (row * width + i)]!,
        encoded.offsets![2 * (row * width + i) + 1]!,
      ]),
    };
  });
}

for (const name of families) {
  const golden = read(`${name}-pipelines.json`) as Golden & { readonly long: string };
  const folder = goldenFile(`tiny-${name}-tasks`);

  test(`${name}: rows of tokens are those of Transformers`, async () => {
    const tokenizer = await loadTokenizer(folder);
    const [first, second] = [golden.pairs.map(({ text }) => text), golden.pairs.map(({ text_pair: text }) => text)];
    const check = (batches: TextBatch[], options: Options, rows: readonly Row[]): void => {
      const found = batches.flatMap((batch) => rowsOf(tokenizer, batch, options, rows[0]!.types !== null));
      assert.equal(found, rows, JSON.stringify(options));
    };
    for (const { options, rows } of golden.rows)
      check(Object.keys(options).length === 0 ? golden.texts.map((text) => [text]) : [golden.texts], options, rows);
    for (const { options, rows } of golden.pairRows) {
      const last = options.truncation === 'only_second' ? ['ok', golden.middle] : [golden.middle, 'ok'];
      check([[...first.map((text, i) => [text, second[i]!] as const), last as [string, string]]], options, rows);
    }
  });

  test(`${name}: pipelines give what those of Transformers give`, async () => {
    const pairs = golden.pairs.map(({ text, text_pair: textPair }) => ({ text, textPair }));
    const classify = await pipeline('text-classification', folder, quiet);
    near(await classify(golden.texts, { topK: 2 }), golden.classified[0], 'texts');
    near(await classify(pairs, { topK: null }), golden.classified[1], 'pairs');
    const label = await pipeline('token-classification', folder, quiet);
    for (const strategy of ['none', 'simple', 'first', 'average', 'max'] as const)
      near(await label(golden.texts, { aggregationStrategy: strategy }), golden.labelled[strategy], strategy);
    near(await label(golden.long, { aggregationStrategy: 'simple', stride: 8 }), golden.longLabelled, 'long');
    const fill = await pipeline('fill-mask', folder, quiet);
    near(await fill(golden.masked, { topK: 2 }), golden.filled, 'masks');
    near(await fill(golden.masked[0]!, { targets: ['fox', 'dog'] }), golden.targets, 'targets');
    const extract = await pipeline('feature-extraction', folder, quiet);
    near(await extract(golden.texts[1]!), golden.features, 'features');
    const zeroShot = await pipeline('zero-shot-classification', folder, quiet);
    near(await zeroShot(golden.texts[0]!, ['fox', 'a house']), golden.zeroShot, 'zero-shot');
    const compare = await pipeline('sentence-similarity', folder, quiet);
    const [itself] = await compare({ source_sentence: 'the fox', sentences: ['the fox'] });
    near(itself, 1 - 1e-9, 'similarity');
  });

  test(`${name}: answers to questions are those of Transformers`, async () => {
    cpSync(folder, join(temporary, name), { recursive: true });
    const file = join(temporary, name, 'config.json');
    const { id2label: _, label2id: __, ...config } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
    writeFileSync(file, JSON.stringify(config));
    const answer = await pipeline('question-answering', join(temporary, name), quiet);
    const questions = answers.questions.map(([question, context]) => ({ question, context }));
    for (const [i, { top_k: topK = 1, ...options }] of answers.options.entries()) {
      const camel = Object.entries({ max_seq_len: 64, doc_stride: 32, ...options }).map(([key, value]) => [
        key.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()),
        value,
      ]);
      const found: (Answer | Answer[])[] = await answer(questions, { ...Object.fromEntries(camel), topK });
      // Where a context has fewer answers, Transformers fills the list with places of no score.
      const wanted = answers.answers[name]![i]!.map((list) => list.filter(({ score }) => score > 0));
      near(
        found.map((one) => [one].flat()),
        wanted,
        JSON.stringify(answers.options[i]),
      );
    }
    // A zero-width space is a context, and no token is left of it, or one that the tokenizer has none for.
    const nothing = await answer({ question: 'who?', context: '\u200b' });
    assert.type(nothing.answer, 'string');
  });

  test(`${name}: a few steps of AdamW have the losses of PyTorch`, async () => {
    const encoder = await loadTextEncoder(folder, 'ForSequenceClassification', quiet);
    const { model, tokenizer } = encoder;
    model.train();
    const examples = golden.texts.map((text, label) => {
      const { inputIds, tokenTypeIds } = tokenizer.encodeToArrays([text], { truncation: true });
      return { inputIds, tokenTypeIds, label: label % model.config.numLabels };
    });
    const optimizer = new AdamW(model.parameters(), { lr: 0.01, weightDecay: 0 });
    for (const [step, wanted] of golden.losses.entries()) {
      optimizer.zeroGrad();
      const { loss } = model.forward(collate(examples, paddingOf(encoder), rowLimits(model)));
      loss!.backward();
      optimizer.step();
      const found = await loss!.item();
      assert.ok(Math.abs(found - wanted) <= 1e-3 * Math.max(1, wanted), `step ${step}: ${found}, want ${wanted}`);
    }
  });

  test(`${name}: rows are as long as the model has positions for, and no longer`, async () => {
    const { model, tokenizer } = await loadTextEncoder(folder, '', quiet);
    const { positions, tokenTypes } = rowLimits(model);
    assert.is(positions, 64);
    assert.is(tokenTypes, ['electra', 'albert'].includes(name));
    const classify = await pipeline('text-classification', folder, quiet);
    const word = tokenizer.encodeToArrays(['a a a']).inputIds[2]!;
    const ids = (length: number) => tensor(new Int32Array(length).fill(word), { shape: [1, length] });
    assert.equal(model.forward({ inputIds: ids(64) }).lastHiddenState.shape, [1, 64, 8]);
    assert.throws(() => model.forward({ inputIds: ids(65) }), /65 tokens are more than the model's 64 positions/);
    const long = 'fox '.repeat(200);
    assert.is((await classify(long, { truncation: true })).length, 1);
    await rejects(classify(long), /text 0 has \d+ tokens, and the model reads at most 64/);
  });
}

test.run();
