import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { nearestNeighbours, pipeline, SentenceTransformer, VectorIndex, writeSafetensors } from '../../models/index.ts';
import type { EncodeTextsOptions } from '../../models/index.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';

const test = suite('sentence-transformer');

interface Case {
  readonly files: Readonly<Record<string, unknown>>;
  readonly weights: Readonly<Record<string, Readonly<Record<string, { shape: number[]; data: number[] }>>>>;
  readonly options: {
    readonly truncate_dim?: number;
    readonly normalize_embeddings?: boolean;
    readonly prompt_name?: string;
  };
  readonly vectors: readonly number[][];
}

const golden = JSON.parse(readFileSync(goldenFile('sentence-transformer.json'), 'utf8')) as {
  readonly texts: readonly string[];
  readonly encode: readonly Case[];
};
const root = mkdtempSync(join(tmpdir(), 'tapeform-sentence-transformer-'));
const quiet = { log: () => undefined };

/** A folder as sentence-transformers wrote it. */
async function folderOf({ files, weights }: Case, name: string): Promise<string> {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  for (const file of ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'])
    await copyFile(goldenFile(`tiny-bert-qa/${file}`), join(folder, file));
  for (const [path, value] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), JSON.stringify(value));
  }
  for (const [path, tensors] of Object.entries(weights))
    await writeSafetensors(
      join(folder, path, 'model.safetensors'),
      Object.entries(tensors).map(([name, { shape, data }]) => ({
        name,
        dtype: 'F32' as const,
        shape,
        data: () => Float32Array.from(data),
      })),
    );
  return folder;
}

const optionsOf = ({ options }: Case): EncodeTextsOptions => ({
  truncateDim: options.truncate_dim,
  normalize: options.normalize_embeddings,
  promptName: options.prompt_name,
});

function near(vectors: readonly Float32Array[], wanted: readonly (readonly number[])[], what: string): void {
  assert.is(vectors.length, wanted.length);
  vectors.forEach((vector, i) => {
    assert.is(vector.length, wanted[i]!.length, what);
    vector.forEach((x, j) => {
      const other = wanted[i]![j]!;
      assert.ok(Math.abs(x - other) < 1e-5, `${what} [${i}][${j}]: ${x} ${other}`);
    });
  });
}

/** The golden was made with at most 24 tokens a text, which its tokenizer says, not a file of the layout. */
const loaded = async (folder: string): Promise<SentenceTransformer> => {
  const model = await SentenceTransformer.fromPretrained(folder, quiet);
  model.maxSeqLength = 24;
  return model;
};

test('encode equals sentence-transformers: poolings, Dense, Normalize, prompts; saved, too', async () => {
  for (const [i, each] of golden.encode.entries()) {
    const model = await loaded(await folderOf(each, `case-${i}`));
    const what = `case ${i}, ${JSON.stringify(each.files['1_Pooling/config.json'])}`;
    near(await model.encode(golden.texts, optionsOf(each)), each.vectors, what);
    if (![6, 10, 11].includes(i)) continue; // a pooling is saved as the others are
    const saved = join(root, `saved-${i}`);
    await model.savePretrained(saved);
    const again = await SentenceTransformer.fromPretrained(saved, quiet);
    assert.is(again.maxSeqLength, 24);
    const some = await again.encode(golden.texts.slice(0, 3), { ...optionsOf(each), batchSize: 1 });
    near(some, each.vectors.slice(0, 3), what);
  }
});

test('a pipeline takes the pooling of the folder', async () => {
  const [each] = golden.encode.slice(-2);
  const folder = await folderOf(each!, 'pipeline');
  const extract = await pipeline('feature-extraction', folder, quiet);
  const texts = golden.texts.filter((text) => text.length < 50);
  const wanted = each!.vectors.filter((_, i) => golden.texts[i]!.length < 50);
  near(await extract(texts, { pooling: 'own' }), wanted, 'own pooling');
  const compare = await pipeline('sentence-similarity', folder, quiet);
  const [score] = await compare({ source_sentence: texts[0]!, sentences: [texts[1]!] });
  const cosine = wanted[0]!.reduce((sum, x, i) => sum + x * wanted[1]![i]!, 0);
  assert.ok(Math.abs(score! - cosine) < 1e-5);
  assert.is((await extract(texts[0]!, { pooling: 'lasttoken' })).length, 16);
});

test('bad input: one line with the file and the mend', async () => {
  const plain = golden.encode[2]!;
  const broken = async (path: string, value: unknown, pattern: RegExp): Promise<void> => {
    const folder = await folderOf({ ...plain, files: { ...plain.files, [path]: value } }, 'broken');
    await rejects(SentenceTransformer.fromPretrained(folder, quiet), pattern);
  };
  const [first, second] = plain.files['modules.json'] as [object, object];
  await broken('modules.json', {}, /modules\.json: it is no list of modules/);
  await broken('modules.json', [first], /one Pooling must follow/);
  await broken('modules.json', [second], /its first module is .*a Transformer in the folder itself/);
  const other = { ...second, type: 'sentence_transformers.models.LSTM' };
  await broken('modules.json', [first, other], /module 1 is .*LSTM.*; Pooling, Dense and Normalize are here/);
  await broken('1_Pooling/config.json', { pooling_mode: 'best' }, /pooling_mode is "best", not of cls, max/);
  await broken('config_sentence_transformers.json', { prompts: { a: 1 } }, /prompts is .*, not texts by their names/);
  await broken('sentence_bert_config.json', { max_seq_length: 'all' }, /max_seq_length is "all", not a whole number/);
  const model = await SentenceTransformer.fromPretrained(await folderOf(plain, 'plain'), quiet);
  await rejects(
    model.encode(['x'], { promptName: 'passage' }),
    /no prompt "passage"; it has (query, document|document, query)/,
  );
  await rejects(model.encode(['x'], { truncateDim: 17 }), /truncateDim must lie in 1\.\.16/);
  await rejects(model.encode(['x '.repeat(200)], { truncation: false }), /text 0 has \d+ tokens/);
  assert.equal(await model.encode([]), []);
});

test('nearestNeighbours finds the nearest by float64, over several blocks and with few vectors', async () => {
  const random = new Random(3);
  const draw = (count: number, width: number): Float32Array[] =>
    Array.from({ length: count }, () => Float32Array.from({ length: width }, () => random.uniform() * 2 - 1));
  for (const [count, width, k, similarity] of [
    [20_000, 8, 5, 'cosine'],
    [700, 16, 10, 'dot'],
    [3, 4, 10, 'cosine'],
  ] as const) {
    const vectors = draw(count, width);
    const queries = draw(70, width);
    const index = new VectorIndex(vectors, { similarity });
    const found = await nearestNeighbours(index, queries, k);
    queries.forEach((query, q) => {
      const length = (vector: Float32Array): number => (similarity === 'dot' ? 1 : Math.hypot(...vector));
      const scores = vectors.map((vector) => {
        return vector.reduce((sum, x, i) => sum + x * query[i]!, 0) / length(vector) / length(query);
      });
      const order = scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
      const wanted = order.slice(0, k);
      assert.is(found[q]!.length, wanted.length);
      found[q]!.forEach(({ index, score }, i) => {
        assert.ok(Math.abs(score - scores[index]!) < 1e-5);
        // Where two are as near as f32 can tell, either may come first.
        assert.ok(Math.abs(scores[index]! - scores[wanted[i]!]!) < 1e-6, `query ${q}, place ${i}`);
      });
    });
    index.dispose();
  }
  await rejects(nearestNeighbours(new VectorIndex(draw(2, 3)), draw(1, 4), 1), /queries\[0\] has 4 features, where 3/);
  assert.throws(() => new VectorIndex([]), /there are no vectors/);
});

test.after(() => rmSync(root, { recursive: true, force: true }));
test.run();
