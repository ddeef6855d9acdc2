// Whatever fails while a model's files are read, none of them stays open: Node closes what is left to the
// collector with a warning, and will end the process for it one day.
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { saveFiles } from '../../common/file-access.ts';
import type { OpenFile } from '../../common/files.ts';
import { localFiles } from '../../common/platform.ts';
import { BertForMaskedLM, GgufFile, loadModel, SavedWeights, writeSafetensors } from '../../models/index.ts';
import type { TensorToWrite } from '../../models/io/safetensors.ts';
import { SGD } from '../../train/optim/index.ts';
import { optimizerFiles, restoreOptimizer } from '../../train/optim/saved-state.ts';
import { failure } from '../support/failure.ts';
import { root } from '../support/files.ts';
import { goldenFile } from '../support/golden.ts';
import { toWrite } from '../support/safetensors.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('open files');
let folder = '';
temporaryFolder(test, (made) => (folder = made));
test.before.each(() => void (readsLeft = Infinity));

const opened = new Set<string>();
let readsLeft = Infinity;

/** A file whose reads fail once there were `readsLeft`. */
async function faulty(path: string): Promise<OpenFile> {
  const handle = await open(path, 'r');
  opened.add(path);
  return {
    stat: () => handle.stat(),
    read: (...of: Parameters<OpenFile['read']>) => {
      if (readsLeft-- > 0) return handle.read(...of);
      throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
    },
    async close() {
      opened.delete(path);
      await handle.close();
    },
  };
}

const before = { ...localFiles };
test.before(() => void Object.assign(localFiles, { open: faulty }));
test.after(() => void Object.assign(localFiles, before));

/** Lets `read` fail at its first, second, ... read of a file, until it has none left to fail at. */
async function failEverywhere(read: () => Promise<unknown>): Promise<number> {
  for (let reads = 0; ; reads += 1 + Math.floor(reads / 4)) {
    readsLeft = reads;
    const message = await failure(read()).catch(() => undefined);
    const left = [...opened];
    opened.clear();
    assert.equal(left, [], `left open when read ${reads} failed`);
    if (readsLeft >= 0) return reads;
    assert.match(message ?? 'no error', /EIO/, `read ${reads}`);
  }
}

const bert = join(root, 'models/pretrained/bert-small');

test('weights of one file', async () => {
  assert.ok((await failEverywhere(() => BertForMaskedLM.fromPretrained(bert, {}, { log: () => undefined }))) > 10);
});

test('weights in shards', async () => {
  cpSync(bert, folder, { recursive: true });
  rmSync(join(folder, 'model.safetensors'));
  const weights = await SavedWeights.open(bert);
  const map: Record<string, string> = {};
  const shards: TensorToWrite[][] = [[], [], []];
  for (const [i, name] of weights.names().entries()) {
    const { dtype, shape, data } = await weights.read(name);
    shards[i % 3]!.push(toWrite(name, dtype, [...shape], data));
    map[name] = `model-${i % 3}.safetensors`;
  }
  await weights.close();
  for (const [i, shard] of shards.entries()) await writeSafetensors(join(folder, `model-${i}.safetensors`), shard);
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  assert.ok((await failEverywhere(() => BertForMaskedLM.fromPretrained(folder, {}, { log: () => undefined }))) > 10);
});

test('a GGUF file', async () => {
  const file = join(folder, 'tiny.gguf');
  cpSync(goldenFile('tiny-llama.gguf'), file);
  assert.ok((await failEverywhere(() => loadModel(file))) > 5);
  assert.ok((await failEverywhere(async () => (await GgufFile.open(file)).close())) > 0);
});

test('the state of an optimizer', async () => {
  const model = await BertForMaskedLM.fromPretrained(bert, {}, { log: () => undefined });
  const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  await saveFiles(optimizerFiles(folder, optimizer));
  assert.ok((await failEverywhere(() => restoreOptimizer(folder, optimizer))) > 2);
});

test('weights that do not fit the model', async () => {
  assert.match(await failure(BertForMaskedLM.fromPretrained(bert, { hiddenSize: 64 })), /shape|fit/);
  assert.match(await failure(SavedWeights.open(join(folder, 'none'))), /none/);
  assert.equal([...opened], []);
});

test.run();
