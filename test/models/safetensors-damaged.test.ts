// Files that are no safetensors, cut short or lying about their contents: each is refused in one line.
import { readFileSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SavedWeights, SafetensorsFile, writeSafetensors } from '../../models/io/safetensors.ts';
import { failure } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { toWrite as tensor } from '../support/safetensors.ts';

const test = suite('damaged safetensors');

let folder = '';
let path = '';
temporaryFolder(test, (made) => {
  folder = made;
  path = join(folder, 'model.safetensors');
});

/** A file with this header and this many bytes of data. */
function fileWith(header: unknown, dataBytes: number): Buffer {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const json = Buffer.isBuffer(header) ? header : Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}

const entry = (dtype: unknown, shape: unknown, offsets: unknown): object => ({ dtype, shape, data_offsets: offsets });
const good = entry('F32', [2], [0, 8]);
const lengthOf = (length: bigint, rest: string): Buffer => {
  const bytes = Buffer.alloc(8 + rest.length);
  bytes.writeBigUInt64LE(length);
  bytes.write(rest, 8);
  return bytes;
};

const damaged: [name: string, bytes: Buffer, message: RegExp][] = [
  ['an empty file', Buffer.alloc(0), /is no safetensors file: it is only 0 bytes long/],
  ['seven bytes', Buffer.alloc(7), /is no safetensors file: it is only 7 bytes long/],
  ['zeros', Buffer.alloc(100), /is no safetensors file: pass a file saved by/],
  ['text', Buffer.from('this is some text, long enough to be read as a header'), /is no safetensors file: pass/],
  ['a zip (new PyTorch)', Buffer.from('PK\u0003\u0004 and more of it'), /it is a PyTorch pickle/],
  ['a pickle (old PyTorch)', Buffer.from([0x80, 2, 0x8a, 10, 108, 252, 156, 70, 249]), /it is a PyTorch pickle/],
  ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:1\n'), /Git LFS pointer/],
  ['a web page', Buffer.from('<!DOCTYPE html><html><body>404</body></html>'), /it is a web page/],
  ['a GGUF file', Buffer.from('GGUF\u0003\u0000\u0000\u0000 and so on'), /it is a GGUF file/],
  ['a header longer than any', lengthOf(1n << 60n, '{"a":1}'), /is no safetensors file/],
  [
    'a header longer than the file',
    lengthOf(1000n, '{"a":1}'),
    /is truncated: its header takes 1000 bytes but only 7 follow/,
  ],
  ['a header alone cut short', fileWith({ a: good }, 8).subarray(0, 20), /is truncated: its header takes \d+ bytes/],
  ['a header that is no JSON', fileWith('{"a": }', 0), /its header is not JSON/],
  ['metadata that is no object', fileWith({ __metadata__: [] }, 0), /__metadata__ must map strings to strings/],
  ['metadata of numbers', fileWith({ __metadata__: { a: 1 } }, 0), /__metadata__ must map strings to strings/],
  ['a tensor without description', fileWith({ a: 3 }, 0), /tensor "a" has no description/],
  [
    'an unknown dtype',
    fileWith({ a: entry('F31', [2], [0, 8]) }, 8),
    /tensor "a" has dtype "F31", which is none of BOOL, U8/,
  ],
  ['a dtype from Object', fileWith({ a: entry('constructor', [2], [0, 8]) }, 8), /tensor "a" has dtype "constructor"/],
  ['no dtype', fileWith({ a: { shape: [2], data_offsets: [0, 8] } }, 8), /tensor "a" has dtype undefined/],
  [
    'a shape that is no list',
    fileWith({ a: entry('F32', 2, [0, 8]) }, 8),
    /tensor "a" has shape 2, which is not a list/,
  ],
  ['a negative size', fileWith({ a: entry('F32', [-2], [0, 8]) }, 8), /tensor "a" has shape \[-2\]/],
  ['a fractional size', fileWith({ a: entry('F32', [2.5], [0, 10]) }, 10), /tensor "a" has shape \[2\.5\]/],
  ['one offset', fileWith({ a: entry('F32', [2], [0]) }, 8), /tensor "a" has data_offsets \[0\]/],
  ['a negative offset', fileWith({ a: entry('F32', [2], [-8, 0]) }, 8), /tensor "a" has data_offsets \[-8,0\]/],
  ['swapped offsets', fileWith({ a: entry('F32', [2], [8, 0]) }, 8), /needs 8 bytes but its offsets span -8/],
  [
    'a shape that lies',
    fileWith({ a: entry('F32', [3], [0, 8]) }, 8),
    /"a" of shape \[3\] F32 needs 12 bytes but its offsets span 8/,
  ],
  [
    'a shape that overflows',
    fileWith({ a: entry('F32', [2 ** 40, 2 ** 40, 0, 2 ** 40], [0, 8]) }, 8),
    /more elements than/,
  ],
  [
    'a huge claim',
    fileWith({ a: entry('F32', [2 ** 45], [0, 2 ** 47]) }, 8),
    /is truncated: its header describes 140737488355328 bytes/,
  ],
  ['missing data', fileWith({ a: good }, 7), /is truncated: its header describes 8 bytes of data but 7 are there/],
  ['extra data', fileWith({ a: good }, 9), /1 bytes at its end belong to no tensor/],
  ['overlapping tensors', fileWith({ a: good, b: entry('F32', [2], [4, 12]) }, 12), /tensor "b" overlaps another/],
  ['a hole', fileWith({ a: good, b: entry('F32', [2], [12, 20]) }, 20), /bytes 8 to 12 belong to no tensor/],
  ['a hole at the start', fileWith({ a: entry('F32', [2], [8, 16]) }, 16), /bytes 0 to 8 belong to no tensor/],
];
for (const [name, bytes, message] of damaged) {
  test(`refuses ${name}`, async () => {
    await writeFile(path, bytes);
    const text = await failure(SafetensorsFile.open(path));
    assert.match(text, message);
    assert.ok(text.startsWith(path), 'the file is named first');
  });
}

interface HeaderCase {
  readonly name: string;
  readonly header: string;
  readonly accepted: boolean;
}
const headers = JSON.parse(readFileSync(goldenFile('safetensors-headers.json'), 'utf8')) as readonly HeaderCase[];
for (const { name, header, accepted } of headers) {
  test(`${accepted ? 'opens' : 'refuses'} what the Rust reader does: ${name}`, async () => {
    await writeFile(path, fileWith(Buffer.from(header, 'latin1'), 8));
    const open = SafetensorsFile.open(path);
    if (accepted) await (await open).close();
    else assert.match(await failure(open), /model\.safetensors is (damaged|no safetensors file)[^\n]*$/);
  });
}

test('refuses a name given twice, of which the Rust reader takes the last', async () => {
  const json = JSON.stringify({ a: good });
  await writeFile(path, fileWith(`${json.slice(0, -1)},${json.replace('"a"', '"\\u0061"').slice(1)}`, 8));
  assert.match(await failure(SafetensorsFile.open(path)), /its header has "a" twice/);
});

test('names in errors cannot steer the terminal, and values are cut', async () => {
  await writeFile(path, fileWith({ 'a\x1b[2J\n': entry('F32', new Array(1000).fill(1.5), [0, 8]) }, 8));
  const text = await failure(SafetensorsFile.open(path));
  assert.match(text, /tensor "a\\x1b\[2J\\n" has shape/);
  assert.ok(text.length < 300, text);
});

test('every truncation of a good file is refused', async () => {
  await writeSafetensors(path, [
    tensor('a', 'F32', [5], new Float32Array(5)),
    tensor('b', 'F16', [3], new Uint16Array(3)),
  ]);
  const whole = await readFile(path);
  for (let length = whole.length - 1; length >= 0; length--) {
    await truncate(path, length);
    assert.match(await failure(SafetensorsFile.open(path)), /is truncated|is no safetensors file/);
  }
});

test('refuses a missing file and a folder', async () => {
  assert.match(await failure(SafetensorsFile.open(path)), /model\.safetensors does not exist: check the path/);
  assert.match(await failure(SafetensorsFile.open(folder)), /is a folder where a file is needed/);
  assert.match(
    await failure(SavedWeights.open(folder)),
    /has neither model\.safetensors nor model\.safetensors\.index\.json/,
  );
});

test('a file cut while it is open is noticed', async () => {
  await writeSafetensors(path, [tensor('a', 'F32', [1000], new Float32Array(1000))]);
  const file = await SafetensorsFile.open(path);
  await truncate(path, 500);
  assert.match(await failure(file.read('a')), /became shorter while it was read/);
  await file.close();
});

test('a header whose length begins as a pickle does is read', async () => {
  const json = JSON.stringify({ a: good });
  await writeFile(path, fileWith(json.padEnd(0x280), 8)); // its first bytes are 80 02
  const file = await SafetensorsFile.open(path);
  assert.equal([...file.entries.keys()], ['a']);
  await file.close();
});

test.run();
