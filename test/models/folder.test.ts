import { lstat, mkdir, mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hubCacheFolder, hubToken } from '../../models/io/hub-cache.ts';
import { canonicalName, isHubName } from '../../models/io/hub-names.ts';
import type { DownloadProgress } from '../../models/io/hub-download.ts';
import { hubTimeout } from '../../models/io/hub-http.ts';
import { resolveModelFolder } from '../../models/io/resolve.ts';
import { COMMIT, FakeHub, gitId, sha256 } from '../support/fake-hub.ts';
import { failure } from '../support/failure.ts';

const test = suite('model folder');
const HUB_VARIABLES = /^(HF_|HUGGINGFACE_|XDG_CACHE_HOME|TRANSFORMERS_OFFLINE)/;

let folder = '';
let cache = '';
let saved: NodeJS.ProcessEnv = {};
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'folder-'));
  saved = process.env;
  process.env = Object.fromEntries(Object.entries(saved).filter(([name]) => !HUB_VARIABLES.test(name)));
  process.env['HF_HOME'] = join(folder, 'home');
  process.env['HF_HUB_OFFLINE'] = '1';
  cache = join(folder, 'home', 'hub');
});
test.after.each(async () => {
  process.env = saved;
  await rm(folder, { recursive: true });
});

async function put(files: Record<string, string>, ...at: string[]): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, ...at, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
  }
  return join(folder, ...at);
}

const MODEL = { 'config.json': '{}', 'model.safetensors': 'weights' };
const index = (...shards: string[]): string =>
  JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(shards.map((shard, i) => [`t${i}`, shard])) });

// -- folders
// -------------------------------------------------------------------------------------------------------

test('a folder is itself, with whole or sharded weights', async () => {
  const whole = await put(MODEL, 'whole');
  assert.is(await resolveModelFolder(whole), whole);
  const sharded = { 'config.json': '{}', 'model.safetensors.index.json': index('a.safetensors'), 'a.safetensors': '' };
  const shards = await put(sharded, 'shards');
  assert.is(await resolveModelFolder(shards), shards);
  const words = await put({ 'vocab.txt': '' }, 'words');
  assert.is(await resolveModelFolder(words, { need: 'tokenizer' }), words);
});

const badFolders: [name: string, files: Record<string, string>, message: RegExp][] = [
  ['an empty folder', { 'other.txt': '' }, /bad has no config\.json: pass the folder that savePretrained wrote$/],
  ['a folder without weights', { 'config.json': '{}' }, /bad has no model\.safetensors: pass a folder with/],
  [
    'a pickle',
    { 'config.json': '{}', 'pytorch_model.bin': '' },
    /only pytorch_model\.bin, a Python pickle.*save_pretrained/,
  ],
  [
    'a missing shard',
    { 'config.json': '{}', 'model.safetensors.index.json': index('a.st') },
    /has no a\.st, which .* names/,
  ],
];
for (const [name, files, message] of badFolders) {
  test(`refuses ${name}`, async () => {
    assert.match(await failure(resolveModelFolder(await put(files, 'bad'))), message);
  });
}

test('refuses what is no folder and no name', async () => {
  await put(MODEL);
  assert.match(await failure(resolveModelFolder(join(folder, 'model.safetensors'))), /is a file: pass the folder/);
  assert.match(
    await failure(resolveModelFolder('./no/such')),
    /^\.\/no\/such does not exist: pass a folder with config\.json/,
  );
  assert.match(
    await failure(resolveModelFolder('')),
    /^a model is given by its folder or its name on the hub, got ""$/,
  );
  const nothing = undefined as unknown as string;
  assert.match(await failure(resolveModelFolder(nothing)), /got undefined$/);
});

// -- the cache
// -----------------------------------------------------------------------------------------------------

test('the cache is where huggingface_hub has it', () => {
  assert.is(hubCacheFolder({ HF_HOME: 'h' }), join('h', 'hub'));
  assert.is(hubCacheFolder({ HF_HOME: 'h', HF_HUB_CACHE: 'c' }), 'c');
  assert.is(hubCacheFolder({ XDG_CACHE_HOME: 'x' }), join('x', 'huggingface', 'hub'));
  assert.match(hubCacheFolder({}), /\.cache.huggingface.hub$/);
});

test('the token is HF_TOKEN or what `hf auth login` saved', async () => {
  assert.is(await hubToken(), undefined);
  await put({ token: 'hf_saved\n' }, 'home');
  assert.is(await hubToken(), 'hf_saved');
  assert.is(await hubToken({ HF_TOKEN: 'hf_given' }), 'hf_given');
});

test('old names stand for those with an organisation', () => {
  assert.is(canonicalName('bert-base-uncased'), 'google-bert/bert-base-uncased');
  assert.is(canonicalName('gpt2'), 'openai-community/gpt2');
  assert.is(canonicalName('distilbert-base-uncased'), 'distilbert/distilbert-base-uncased');
  assert.is(canonicalName('all-MiniLM-L6-v2'), 'sentence-transformers/all-MiniLM-L6-v2');
  assert.is(canonicalName('someone/bert-base-uncased'), 'someone/bert-base-uncased');
  assert.is(canonicalName('mine'), 'mine');
  for (const id of ['a', 'a/b', 'google-bert/bert-base_un.cased']) assert.ok(isHubName(id), id);
  for (const id of ['', 'a/b/c', '../a', 'a/..', '/a', 'a b', 'a--b', 'a\\b']) assert.not.ok(isHubName(id), id);
});

test('a model in the cache is found by either of its names, by branch and by commit', async () => {
  const at = ['home', 'hub', 'models--google-bert--bert-base-uncased'];
  const snapshot = await put(MODEL, ...at, 'snapshots', COMMIT);
  await put({ main: COMMIT, v2: 'elsewhere' }, ...at, 'refs');
  assert.is(await resolveModelFolder('bert-base-uncased'), snapshot);
  assert.is(await resolveModelFolder('google-bert/bert-base-uncased'), snapshot);
  assert.is(await resolveModelFolder('bert-base-uncased', { revision: COMMIT }), snapshot);
  const other = await failure(resolveModelFolder('bert-base-uncased', { revision: 'v2' }));
  assert.match(other, /^bert-base-uncased is neither a folder nor in the Hugging Face cache/);
  const legacy = await put(MODEL, 'home', 'hub', 'models--bert-large-cased', 'snapshots', COMMIT);
  await put({ main: COMMIT }, 'home', 'hub', 'models--bert-large-cased', 'refs');
  assert.is(await resolveModelFolder('bert-large-cased'), legacy);
});

test('offline, a model that is not there is refused with what to do', async () => {
  const message = await failure(resolveModelFolder('bert-base-uncased'));
  assert.is(
    message,
    `bert-base-uncased is neither a folder nor in the Hugging Face cache (${cache}), and HF_HUB_OFFLINE forbids the ` +
      `network: pass a folder with config.json and model.safetensors, or unset HF_HUB_OFFLINE`,
  );
  await put({ 'config.json': '{}' }, 'home', 'hub', 'models--a--b', 'snapshots', COMMIT);
  await put({ main: COMMIT }, 'home', 'hub', 'models--a--b', 'refs');
  assert.match(
    await failure(resolveModelFolder('a/b')),
    /^a\/b is only partly in the Hugging Face cache \(.* has no model/,
  );
});

test('without a network, the message says what to do', async () => {
  delete process.env['HF_HUB_OFFLINE'];
  // Nothing listens on port 1 of this machine.
  const message = await failure(resolveModelFolder('bert-base-uncased', { hubUrl: 'http://127.0.0.1:1' }));
  assert.is(
    message,
    `bert-base-uncased is neither a folder nor in the Hugging Face cache (${cache}), and the hub cannot be reached: ` +
      'pass a folder with config.json and model.safetensors, or run once with a network (a download is kept in ' +
      'the cache)',
  );
});

// -- the hub
// -------------------------------------------------------------------------------------------------------

const REPOSITORY = {
  'README.md': 'not needed',
  'config.json': '{"hidden_size": 4}',
  'model.safetensors': 'w'.repeat(200_000),
  'model.safetensors.index.json': index('model-00001-of-00001.safetensors'),
  'model-00001-of-00001.safetensors': 'not needed either',
  'pytorch_model.bin': 'nor this',
  'tokenizer.json': '{}',
  'vocab.txt': 'a\n',
};
const { 'model.safetensors': _whole, ...SHARDED } = REPOSITORY;
const PICKLED = { 'config.json': '{}', 'pytorch_model.bin': 'pickle' };

async function withHub(
  files: Record<string, string>,
  use: (hub: FakeHub, options: { hubUrl: string }) => Promise<void>,
  name = 'google-bert/bert-tiny',
): Promise<void> {
  delete process.env['HF_HUB_OFFLINE'];
  const hub = new FakeHub(name, files);
  try {
    await use(hub, { hubUrl: await hub.start() });
  } finally {
    await hub.stop();
  }
}

test('a model is downloaded once, into the layout of the Hugging Face cache', async () => {
  await withHub(REPOSITORY, async (hub, options) => {
    const progress: DownloadProgress[] = [];
    const onProgress = (report: DownloadProgress) => progress.push(report);
    const snapshot = await resolveModelFolder('google-bert/bert-tiny', { ...options, onProgress });
    const repository = join(cache, 'models--google-bert--bert-tiny');
    assert.is(snapshot, join(repository, 'snapshots', COMMIT));
    assert.is(await readFile(join(repository, 'refs', 'main'), 'utf8'), COMMIT);
    const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'vocab.txt'] as const;
    assert.equal((await readdir(snapshot)).sort(), names);
    for (const name of names) assert.is(await readFile(join(snapshot, name), 'utf8'), REPOSITORY[name]);
    const blobs = [
      sha256(REPOSITORY['model.safetensors']),
      ...(['config.json', 'tokenizer.json', 'vocab.txt'] as const).map((name) => gitId(REPOSITORY[name])),
    ];
    assert.equal((await readdir(join(repository, 'blobs'))).sort(), blobs.sort());
    if ((await lstat(join(snapshot, 'config.json'))).isSymbolicLink()) {
      const target = await readlink(join(snapshot, 'config.json'));
      assert.is(target, join('..', '..', 'blobs', gitId(REPOSITORY['config.json'])));
    }
    const weights = progress.filter(({ file }) => file === 'model.safetensors');
    assert.is(weights[0]!.receivedBytes, 0);
    assert.equal(weights.at(-1), { ...weights[0], receivedBytes: 200_000, totalBytes: 200_000, fileCount: 4 });

    const before = hub.requests.length;
    assert.is(await resolveModelFolder('google-bert/bert-tiny', options), snapshot);
    assert.is(hub.requests.length, before, 'the second time, the hub is not asked');
  });
});

test('shards are downloaded where there is no whole file', async () => {
  await withHub(SHARDED, async (_hub, options) => {
    const names = await readdir(await resolveModelFolder('google-bert/bert-tiny', options));
    assert.ok(names.includes('model-00001-of-00001.safetensors') && names.includes('model.safetensors.index.json'));
  });
});

test('what sentence-transformers keeps beside a model is downloaded with it, from folders below too', async () => {
  const more = { 'modules.json': '[]', '1_Pooling/config.json': '{"a": 1}', '2_Dense/model.safetensors': 'dense' };
  await withHub({ ...REPOSITORY, ...more, 'onnx/model.safetensors': 'not needed' }, async (_hub, options) => {
    const snapshot = await resolveModelFolder('google-bert/bert-tiny', options);
    for (const [name, text] of Object.entries(more)) assert.is(await readFile(join(snapshot, name), 'utf8'), text);
    assert.not.ok((await readdir(snapshot)).includes('onnx'));
  });
});

test('only the tokenizer is downloaded where only it is needed, and the rest later', async () => {
  await withHub(REPOSITORY, async (_hub, options) => {
    const snapshot = await resolveModelFolder('google-bert/bert-tiny', { ...options, need: 'tokenizer' });
    assert.equal((await readdir(snapshot)).sort(), ['config.json', 'tokenizer.json', 'vocab.txt']);
    assert.is(await resolveModelFolder('google-bert/bert-tiny', options), snapshot);
    assert.ok((await readdir(snapshot)).includes('model.safetensors'));
  });
});

test('an old name is asked for under its new one', async () => {
  const name = 'google-bert/bert-base-uncased';
  await withHub(
    REPOSITORY,
    async (_hub, options) => {
      const snapshot = await resolveModelFolder('bert-base-uncased', options);
      assert.is(snapshot, join(cache, 'models--google-bert--bert-base-uncased', 'snapshots', COMMIT));
    },
    name,
  );
});

for (const [name, text, message] of [
  ['shortened', 'w'.repeat(1000), /sends "1000" bytes for .*bert-tiny.*, which has 200000 in its listing: try again/],
  [
    'changed',
    'x'.repeat(200_000),
    /bert-tiny\/model\.safetensors is damaged \(its SHA-256 is not the hub's\): try again/,
  ],
] as const) {
  test(`a ${name} download is refused and leaves nothing`, async () => {
    await withHub(REPOSITORY, async (hub, options) => {
      hub.sent['model.safetensors'] = text;
      assert.match(await failure(resolveModelFolder('google-bert/bert-tiny', options)), message);
      const blobs = await readdir(join(cache, 'models--google-bert--bert-tiny', 'blobs'));
      assert.not.ok(
        blobs.some((blob) => blob.includes('incomplete') || blob.startsWith(sha256(REPOSITORY['model.safetensors']))),
      );
      delete hub.sent['model.safetensors'];
      await resolveModelFolder('google-bert/bert-tiny', options);
    });
  });
}

/** Where the weights of REPOSITORY lie in the cache. */
const weightsBlob = (): string =>
  join(cache, 'models--google-bert--bert-tiny', 'blobs', sha256(REPOSITORY['model.safetensors']));

test('what a killed download left is gone on with, and thrown away where it is damaged', async () => {
  const host = hostname().replace(/[^\w-]/g, '_');
  for (const left of ['incomplete', `999999999@${host}-0.incomplete`]) {
    for (const [beginning, ranges] of [
      ['w', 'bytes=1000-'],
      ['x', 'bytes=1000-,none'],
    ] as const) {
      await withHub(REPOSITORY, async (hub, options) => {
        const asked: string[] = [];
        hub.lies = {
          file: (name, _bytes, { headers }) => name === 'model.safetensors' && !asked.push(headers.range ?? 'none'),
        };
        await mkdir(dirname(weightsBlob()), { recursive: true });
        await writeFile(`${weightsBlob()}.${left}`, beginning.repeat(1000));
        const snapshot = await resolveModelFolder('google-bert/bert-tiny', options);
        assert.is(await readFile(join(snapshot, 'model.safetensors'), 'utf8'), REPOSITORY['model.safetensors']);
        assert.is(asked.join(), ranges);
        assert.not.ok((await readdir(dirname(weightsBlob()))).some((name) => name.includes('incomplete')));
        await rm(cache, { recursive: true });
      });
    }
  }
});

test('several downloads of one model at once are all right', async () => {
  await withHub(REPOSITORY, async (_hub, options) => {
    const all = Array.from({ length: 8 }, () => resolveModelFolder('google-bert/bert-tiny', options));
    const [snapshot] = await Promise.all(all);
    assert.is(await readFile(join(snapshot!, 'model.safetensors'), 'utf8'), REPOSITORY['model.safetensors']);
    assert.equal((await readdir(snapshot!)).sort(), [
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'vocab.txt',
    ]);
    assert.is((await readdir(dirname(weightsBlob()))).length, 4);
  });
});

test('a blob of another size than the listing says is fetched again', async () => {
  await withHub(REPOSITORY, async (_hub, options) => {
    await mkdir(dirname(weightsBlob()), { recursive: true });
    await writeFile(weightsBlob(), 'cut');
    const snapshot = await resolveModelFolder('google-bert/bert-tiny', options);
    assert.is(await readFile(join(snapshot, 'model.safetensors'), 'utf8'), REPOSITORY['model.safetensors']);
  });
});

test('a revision and a ref of the cache never lead out of it', async () => {
  for (const revision of ['../main', '/etc', 'a/../b', '', 'a b', 'a\0'])
    assert.match(await failure(resolveModelFolder('a/b', { revision })), /^revision ".*": give a branch, a tag/);
  const outside = await put(MODEL, 'outside');
  await put({ main: `../../../../../${basename(outside)}\n` }, 'home', 'hub', 'models--a--b', 'refs');
  await put({}, 'home', 'hub', 'models--a--b', 'snapshots');
  assert.match(await failure(resolveModelFolder('a/b')), /^a\/b is neither a folder nor in the Hugging Face cache/);
});

test('the time to wait for a byte is checked', () => {
  assert.is(hubTimeout({}), 10_000);
  assert.is(hubTimeout({ HF_HUB_DOWNLOAD_TIMEOUT: '2.5' }), 2500);
  for (const bad of ['0', '-1', 'x', 'NaN', 'Infinity', '1e9'])
    assert.throws(() => hubTimeout({ HF_HUB_DOWNLOAD_TIMEOUT: bad }), /give seconds above 0/);
});

test('an address that is none is refused with the variable that sets it', async () => {
  delete process.env['HF_HUB_OFFLINE'];
  assert.match(
    await failure(resolveModelFolder('a/b', { hubUrl: 'hub' })),
    /^"hub" is no address of a hub: check HF_E/,
  );
});

test('an unknown model, a private model and a model of pickles are told apart', async () => {
  await withHub(PICKLED, async (hub, options) => {
    const unknown = await failure(resolveModelFolder('no/such-model', options));
    assert.match(unknown, /and the hub has no public model no\/such-model \(HTTP 404\): check the name, set HF_TOKEN/);
    const pickled = await failure(resolveModelFolder('google-bert/bert-tiny', options));
    assert.match(pickled, /on the hub has only pytorch_model\.bin, a Python pickle/);
    hub.token = 'hf_secret';
    assert.match(await failure(resolveModelFolder('google-bert/bert-tiny', options)), /HTTP 401/);
    process.env['HF_TOKEN'] = 'hf_secret';
    assert.match(await failure(resolveModelFolder('google-bert/bert-tiny', options)), /has only pytorch_model\.bin/);
  });
});

test.run();
