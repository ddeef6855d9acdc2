// A hub on this machine that lies: about names, ids and sizes, by cutting, stalling and never ending.
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { downloadModel } from '../../models/io/hub-download.ts';
import type { Entry, Lies } from '../support/fake-hub.ts';
import { COMMIT, FakeHub, gitId, rangeHeader, sendFile, sha256 } from '../support/fake-hub.ts';
import { Tally } from '../support/faults.ts';
import type { FaultOptions, FaultOutcome } from '../support/faults.ts';

export const name = 'lying hub';

const NAME = 'google-bert/bert-tiny';
const FILES = { 'config.json': '{"hidden_size": 4}', 'model.safetensors': 'w'.repeat(150_000) + 'x'.repeat(150_000) };
const LARGE = 'model.safetensors';

/** One lie, and how the download must end: in this line, or well. */
interface HubFault {
  readonly name: string;
  readonly lies: Lies;
  readonly says: RegExp | 'served';
  /** HF_HUB_DOWNLOAD_TIMEOUT, in seconds; default 0.5. */
  readonly timeout?: string;
}

const info = (
  name: string,
  body: string,
  says: HubFault['says'],
  status = 200,
  type = 'application/json',
): HubFault => ({
  name,
  says,
  lies: { info: (response) => Boolean(response.writeHead(status, { 'Content-Type': type }).end(body)) },
});

/** Changes the entry of the large file. */
const entry = (name: string, change: (entry: Entry) => Entry, says: RegExp): HubFault => ({
  name: `listing: ${name}`,
  says,
  lies: { listing: (entries) => entries.map((it) => (it['path'] === LARGE ? change(it) : it)) },
});

const file = (
  name: string,
  says: HubFault['says'],
  answer: (bytes: Buffer, request: IncomingMessage, response: ServerResponse, nth: number) => boolean,
  which = LARGE,
): HubFault => ({
  name: `file: ${name}`,
  says,
  lies: { file: (path, bytes, request, response, nth) => path === which && answer(bytes, request, response, nth) },
});

const head = (response: ServerResponse, length: number, more: Record<string, string> = {}): ServerResponse =>
  response.writeHead(200, { 'Content-Length': length, ...more });

/** Sends `count` bytes of what was asked for, then breaks the connection, or goes silent. */
function sendPart(count: number, bytes: Buffer, request: IncomingMessage, response: ServerResponse, silent = false) {
  const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const more = start > 0 ? rangeHeader(start, bytes.length) : {};
  response.writeHead(start > 0 ? 206 : 200, { 'Content-Length': bytes.length - start, ...more });
  response.write(bytes.subarray(start, start + count), () => {
    if (!silent) setTimeout(() => response.destroy(), 20);
  });
  return true;
}

/** Sends without end, as fast as it is read. */
function sendForever(response: ServerResponse, chunk: Buffer): boolean {
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', more);
  more();
  return true;
}

/** Packed beforehand: while this process packs, its hub is silent. */
const bomb = gzipSync(Buffer.alloc(2 ** 26), { level: 1 });

const badPaths = ['../evil', '../../../evil', '/evil', 'a/../../evil', 'a\0b', 'a\\..\\b', 'C:evil', '.', 'a//b'];
const strange = [...badPaths, '', '\x1b[31mred', '...', 'a/.. '];
const paths = strange.map((path) =>
  entry(`the path ${JSON.stringify(path)}`, (it) => ({ ...it, path }), /which is no path inside the model/),
);
const ids = ['../../../evil', '/evil', '', 'a'.repeat(63), 'A'.repeat(64), null, 7, 'b'.repeat(40)].map((oid) =>
  entry(`the SHA-256 ${JSON.stringify(oid)}`, (it) => ({ ...it, lfs: { oid } }), /no usable id for "model/),
);
const sizes = [-1, 1.5, '300000', null, 2 ** 54, undefined].map((size) =>
  entry(`the size ${String(size)}`, (it) => ({ ...it, size }), /the size .*: a whole number of bytes is needed/),
);
const shas = ['../../../..', '/etc', '..', '', 'main', 'g'.repeat(40), null, 7].map((sha) =>
  info(`the commit ${JSON.stringify(sha)}`, JSON.stringify({ sha }), /names no commit of google-bert\/bert-tiny, but/),
);
const cuts = Array.from({ length: 24 }, (_, i) => 1 + Math.floor((300_000 * i) / 24)).map((at) =>
  file(`broken after ${at} bytes, then fine`, 'served', (bytes, request, response, nth) =>
    nth === 0 ? sendPart(at, bytes, request, response) : false,
  ),
);

const hubFaults: readonly HubFault[] = [
  ...shas,
  info('the commit in a list', '[]', /names no commit/),
  info('no JSON', '{"sha": ', /answers with no valid JSON/),
  info('a web page', '<html>', /a web page \(does this network ask for a login\?\)/, 200, 'text/html'),
  info('500', '', /HTTP 500/, 500),
  { name: 'no answer', lies: { info: () => true }, says: /sent nothing for 0\.5 s/ },
  {
    name: 'an answer without end',
    lies: { info: (response) => sendForever(response, Buffer.alloc(2 ** 20, ' ')) },
    says: /longer than 32 MiB/,
  },
  {
    name: 'an answer drop by drop',
    lies: {
      info(response) {
        const timer = setInterval(() => response.write(' '), 20);
        return Boolean(response.on('close', () => clearInterval(timer)));
      },
    },
    says: /does not end/,
    timeout: '0.1',
  },
  {
    name: 'listing: an object',
    lies: { listing: () => ({ error: 'no' }) },
    says: /is no list/,
  },
  {
    name: 'listing: a next page for ever',
    lies: {
      listing(entries, response) {
        response.setHeader('Link', `</api/models/${NAME}/tree/${COMMIT}?cursor=x>; rel="next"`);
        return entries;
      },
    },
    says: /listing of google-bert\/bert-tiny does not end/,
  },
  {
    name: 'listing: a next page that is no address',
    lies: {
      listing: (entries, response) => response.setHeader('Link', '<http://[>; rel="next"') && entries,
    },
    says: /is no address/,
  },
  ...paths,
  ...ids,
  ...sizes,
  entry('no id at all', ({ path, size }) => ({ type: 'file', path, size }), /no usable id/),
  entry('a petabyte', (it) => ({ ...it, size: 2 ** 50 }), /has room for \d+: free some space/),
  entry('one byte less', (it) => ({ ...it, size: 299_999 }), /sends "300000" bytes for .*, which has 299999/),
  entry('one byte more', (it) => ({ ...it, size: 300_001 }), /sends "300000" bytes for .*, which has 300001/),
  file('another of the same size', /its SHA-256 is not the hub's\): try again/, (bytes, _, response) =>
    Boolean(head(response, bytes.length).end(Buffer.alloc(bytes.length, 'y'))),
  ),
  file(
    'another small one of the same size',
    /its git id is not the hub's\): try again/,
    (bytes, _, response) => Boolean(head(response, bytes.length).end(Buffer.alloc(bytes.length, ' '))),
    'config.json',
  ),
  file('no answer', /sent nothing for 0\.5 s.*: try again/, () => true),
  file('stalled for ever', /sent nothing for 0\.5 s .* 1000 of 300000 bytes are kept/, (...args) =>
    sendPart(args[3] === 0 ? 1000 : 0, args[0], args[1], args[2], true),
  ),
  file('stalled once, then fine', 'served', (bytes, request, response, nth) =>
    nth === 0 ? sendPart(100_000, bytes, request, response, true) : false,
  ),
  file('broken at each 50,000 bytes', 'served', (bytes, request, response) =>
    sendPart(50_000, bytes, request, response),
  ),
  file('broken at once, always', /the connection to the hub broke/, (_bytes, _request, response) => {
    response.destroy();
    return true;
  }),
  ...cuts,
  file('without end', /longer than the 300000 bytes/, (_bytes, _request, response) =>
    sendForever(response.writeHead(200), Buffer.alloc(65_536, 'w')),
  ),
  file('a web page', /sends a web page .* in place of google-bert/, (_bytes, _request, response) =>
    Boolean(head(response, 6, { 'Content-Type': 'text/html' }).end('<html>')),
  ),
  file('packed', 'served', (bytes, _request, response) => {
    const packed = gzipSync(bytes);
    return Boolean(head(response, packed.length, { 'Content-Encoding': 'gzip' }).end(packed));
  }),
  file('packed, endless when unpacked', /longer than the 300000 bytes/, (_bytes, _request, response) => {
    return Boolean(head(response, bomb.length, { 'Content-Encoding': 'gzip' }).end(bomb));
  }),
  file(
    '500, then fine',
    'served',
    (_bytes, _request, response, nth) => nth < 3 && Boolean(response.writeHead(500).end()),
  ),
  file(
    '429, then fine',
    'served',
    (_bytes, _request, response, nth) => nth < 1 && Boolean(response.writeHead(429).end()),
  ),
  file('500 for ever', /HTTP 500/, (_bytes, _request, response) => Boolean(response.writeHead(500).end())),
  file('ranges ignored', 'served', (bytes, request, response, nth) =>
    nth === 0 ? sendPart(9, bytes, request, response) : Boolean(head(response, bytes.length).end(bytes)),
  ),
  file('another range than asked for', /connection to the hub broke, 9 of 300000/, (bytes, request, response) => {
    if (request.headers.range === undefined) return sendPart(9, bytes, request, response);
    return Boolean(response.writeHead(206, rangeHeader(0, bytes.length)).end(bytes));
  }),
  file('range refused', /HTTP 416/, (bytes, request, response) =>
    request.headers.range === undefined
      ? sendPart(9, bytes, request, response)
      : Boolean(response.writeHead(416).end()),
  ),
  file('a circle of redirects', /redirects more than 5 times/, (_bytes, request, response) =>
    Boolean(response.writeHead(302, { Location: request.url! }).end()),
  ),
  ...['file:///etc/passwd', 'data:,x', 'ftp://127.0.0.1/x'].map((Location) =>
    file(`a redirect to ${Location}`, /points to .*, which is not secure/, (_bytes, _request, response) =>
      Boolean(response.writeHead(302, { Location }).end()),
    ),
  ),
];

/**
 * Plays one fault in an empty cache and returns what went wrong, null where all is well: one clear line or a
 * download that is right, nothing outside of the cache, nothing in it that is not what its name says, and a
 * download from an honest hub right after.
 */
async function playHubFault({ lies, says, timeout = '0.5' }: HubFault): Promise<string | null> {
  const folder = await mkdtemp(join(tmpdir(), 'hub-'));
  const victim = join(folder, 'evil');
  const cache = join(folder, 'a', 'b', 'cache');
  const saved = { ...process.env };
  Object.assign(process.env, { HF_TOKEN: 'hf_secret', HF_HUB_DOWNLOAD_TIMEOUT: timeout });
  const hub = new FakeHub(NAME, FILES);
  try {
    await mkdir(cache, { recursive: true });
    await writeFile(victim, 'precious');
    const hubUrl = await hub.start();
    hub.lies = lies;
    const download = () => downloadModel(NAME, (listing) => listing, { cache, hubUrl });
    const begun = Date.now();
    const said = await download().then(
      () => 'served',
      (error: Error) => error.message,
    );
    if (Date.now() - begun > 8000) return `took ${Date.now() - begun} ms`;
    if (says === 'served' ? said !== 'served' : !says.test(said) || said.includes('\n')) return said;
    const found = await damage(folder, cache);
    if (found !== null) return found;
    hub.lies = {};
    const snapshot = await download();
    for (const [name, text] of Object.entries(FILES))
      if ((await readFile(join(snapshot, name), 'utf8')) !== text) return `${name} is wrong after an honest download`;
    return null;
  } catch (error) {
    return String(error);
  } finally {
    process.env = saved;
    await hub.stop();
    await rm(folder, { recursive: true });
  }
}

async function damage(folder: string, cache: string): Promise<string | null> {
  if ((await readdir(folder)).sort().join() !== 'a,evil') return `wrote outside: ${String(await readdir(folder))}`;
  if ((await readdir(join(folder, 'a'))).join() !== 'b' || (await readdir(join(folder, 'a', 'b'))).join() !== 'cache')
    return 'wrote outside of the cache';
  if ((await readFile(join(folder, 'evil'), 'utf8')) !== 'precious') return 'changed a file outside';
  const models = await readdir(cache);
  if (models.some((name) => name !== 'models--google-bert--bert-tiny')) return `the cache holds ${models.join()}`;
  const blobs = join(cache, 'models--google-bert--bert-tiny', 'blobs');
  for (const name of existsSync(blobs) ? await readdir(blobs) : []) {
    if (name.endsWith('.incomplete')) continue;
    const text = await readFile(join(blobs, name), 'utf8');
    if (![sha256(text), gitId(text)].includes(name)) return `the blob ${name} has other contents`;
  }
  return null;
}

/** Redirects the large file to another host, which must not get the token. Returns what went wrong. */
async function playRedirect(): Promise<string | null> {
  const seen: (string | undefined)[] = [];
  const other = createServer((request, response) => {
    seen.push(request.headers.authorization);
    sendFile(Buffer.from(FILES[LARGE]), request, response);
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const Location = `http://127.0.0.1:${(other.address() as AddressInfo).port}/x`;
  try {
    const redirect = file('elsewhere', 'served', (_bytes, _request, response) =>
      Boolean(response.writeHead(302, { Location }).end()),
    );
    const wrong = await playHubFault(redirect);
    if (wrong !== null) return wrong;
    if (seen.length !== 1) return `the other host was asked ${seen.length} times`;
    return seen[0] === undefined ? null : 'the other host got the token';
  } finally {
    other.closeAllConnections();
    await new Promise((resolve) => other.close(resolve));
  }
}

export async function run({ short }: FaultOptions): Promise<FaultOutcome> {
  const tally = new Tally();
  const must = async (played: Promise<string | null>): Promise<void> => {
    const wrong = await played;
    if (wrong !== null) throw new Error(wrong);
  };
  const chosen = hubFaults.filter((fault) => !short || !cuts.includes(fault) || cuts.indexOf(fault) % 8 === 0);
  for (const fault of chosen) await tally.try(fault.name, () => must(playHubFault(fault)));
  await tally.try('a redirect to another host, with the token at the hub alone', () => must(playRedirect()));
  return tally.outcome();
}
