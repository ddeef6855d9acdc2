// The service: requests as OpenAI's client makes them, tasks, errors, batches, limits, its end.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createConnection } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { manualSeed } from '../../autograd/index.ts';
import {
  applyChatTemplate,
  generateText,
  GPT2LMHeadModel,
  loadTextEncoder,
  loadTextGenerator,
  pipeline,
  Tokenizer,
} from '../../models/index.ts';
import { gpt2TokenizerJson, GPT2_CONFIG } from '../../models/tokenizer/byte-level.ts';
import { Access, clientOf } from '../../train/serve/access.ts';
import { serve } from '../../train/serve/index.ts';
import type { ServeOptions, Serving } from '../../train/serve/index.ts';
import { Random } from '../../common/random.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { near } from '../support/near.ts';
import { runScript } from '../support/script.ts';
import type { Finished } from '../support/script.ts';

const test = suite('serve');
let parent = '';

const template =
  "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}";
const positions = 128;
let chatFolder = '';
const quiet = { log: (): void => undefined };
let tasks = '';
let server: Serving;
const lines: string[] = [];

test.before(async () => {
  parent = await mkdtemp(join(tmpdir(), 'tapeform-serve-'));
  manualSeed(1);
  chatFolder = join(parent, 'chat');
  const model = GPT2LMHeadModel.fromConfig({
    nEmbd: 8,
    nLayer: 1,
    nHead: 2,
    nPositions: positions,
    initializerRange: 0.5,
  });
  const tokenizer = Tokenizer.fromJson(gpt2TokenizerJson(), { ...GPT2_CONFIG, chat_template: template });
  await model.savePretrained(chatFolder, { tokenizer });
  tasks = join(parent, 'labels');
  const encoder = await loadTextEncoder(goldenFile('tiny-bert-tasks'), 'ForSequenceClassification', quiet);
  await encoder.model.savePretrained(tasks, { tokenizer: encoder.tokenizer });
  server = await start({ log: (line) => lines.push(line) });
});
test.after(async () => {
  await server.close(0);
  await rm(parent, { recursive: true, force: true });
});

/** The model of dialogues alone, which loads at once. */
const chatOnly = (): Partial<ServeOptions> => ({ models: [`chat=${chatFolder}`] });

const start = (options: Partial<ServeOptions> = {}): Promise<Serving> =>
  serve({
    models: [`chat=${chatFolder}`, `labels=${tasks}`, 'search=models/pretrained/help-search-small'],
    port: 0,
    batchSize: 4,
    ...options,
  });

interface Reply<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly json: T;
}

interface Failure {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

interface Answered {
  readonly choices: readonly {
    readonly index: number;
    readonly text: string;
    readonly message: { readonly role: string; readonly content: string };
    readonly finish_reason: string;
    readonly logprobs: {
      readonly content: unknown[];
      readonly tokens: string[];
      readonly token_logprobs: number[];
    } | null;
  }[];
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number; readonly total_tokens: number };
}

async function post<T = Answered>(path: string, body: unknown, more: RequestInit = {}, of = server): Promise<Reply<T>> {
  const text = typeof body === 'string' || body instanceof Blob ? body : JSON.stringify(body);
  const response = await fetch(of.url + path, {
    method: 'POST',
    body: text,
    ...more,
    headers: { 'content-type': 'application/json', ...more.headers },
  });
  return { status: response.status, headers: response.headers, json: (await response.json()) as T };
}

const messages = [{ role: 'user', content: 'Hello there' }];
const greedy = { messages, temperature: 0, max_tokens: 12 };

/** What the model writes without a server. */
async function alone(options: object): Promise<{ text: string; prompt: number }> {
  const { model, tokenizer } = await loadTextGenerator(chatFolder);
  const prompt = applyChatTemplate(tokenizer, messages, { addGenerationPrompt: true });
  const [first] = await generateText(model, tokenizer, prompt, options);
  return { text: first!.text, prompt: tokenizer.idsOf(prompt).length };
}

interface Chunk extends Answered {
  readonly choices: readonly (Answered['choices'][0] & { readonly delta: { readonly content?: string } })[];
}

/** The events of a stream, which must end with [DONE]. */
async function stream(path: string, body: object, of = server): Promise<Chunk[]> {
  const response = await fetch(of.url + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true }),
  });
  assert.match(response.headers.get('content-type')!, /^text\/event-stream/);
  const events = (await response.text()).trim().split('\n\n');
  assert.is(events.pop(), 'data: [DONE]');
  return events.map((event) => JSON.parse(event.replace(/^data: /, '')) as Chunk);
}

test('a dialogue is answered as the model answers it, whole and in pieces', async () => {
  const own = await alone({ maxNewTokens: 12, doSample: false });
  const { status, json } = await post('/v1/chat/completions', { model: 'chat', ...greedy });
  assert.is(status, 200);
  assert.equal(json.choices[0]!.message, { role: 'assistant', content: own.text, refusal: null });
  assert.is(json.choices[0]!.finish_reason, 'length');
  assert.equal(json.usage, { prompt_tokens: own.prompt, completion_tokens: 12, total_tokens: own.prompt + 12 });
  const chunks = await stream('/v1/chat/completions', { ...greedy, stream_options: { include_usage: true } });
  assert.equal(chunks.at(-1)!.usage, json.usage);
  const parts = chunks.flatMap(({ choices }) => choices);
  assert.is(parts.map(({ delta }) => delta.content ?? '').join(''), own.text);
  assert.is(parts.at(-1)!.finish_reason, 'length');
});

test('texts of one batch, each with options of its own, are those that they are alone', async () => {
  const wanted = [
    { messages, seed: 5, max_tokens: 10, temperature: 0.8, top_p: 0.9 },
    { messages, seed: 6, max_tokens: 30, top_k: 20, logprobs: true, top_logprobs: 2 },
    { messages, temperature: 0, max_tokens: 3, frequency_penalty: 1 },
    { messages: [...messages, { role: 'assistant', content: 'Yes' }, messages[0]], seed: 7, max_tokens: 20, n: 3 },
  ];
  const one = [];
  for (const body of wanted) one.push((await post('/v1/chat/completions', body)).json.choices);
  const together = await Promise.all(wanted.map((body) => post('/v1/chat/completions', body)));
  const texts = (choices: Answered['choices']): unknown => choices.map(({ message }) => message.content);
  assert.equal(together.map(({ json }) => texts(json.choices)), one.map(texts)); // prettier-ignore
  assert.is(together[1]!.json.choices[0]!.logprobs!.content.length, 30);
  assert.is(new Set(together[3]!.json.choices.map(({ message }) => message.content)).size, 3);
  const sizes = server.metrics.toString();
  assert.match(sizes, /tapeform_batch_texts_bucket\{kind="generation",le="4"\} [1-9]/);
});

test('completions: several prompts, ids, stops, log-probabilities', async () => {
  const body = { model: 'chat', prompt: ['Once', 'Twice'], max_tokens: 4, temperature: 0, logprobs: 1 };
  const { json } = await post('/v1/completions', body);
  const { tokenizer } = await loadTextGenerator(chatFolder);
  const ids = ['Once', 'Twice'].map((text) => Array.from(tokenizer.idsOf(text)));
  const { json: byIds } = await post('/v1/completions', { ...body, prompt: ids });
  assert.equal(byIds.choices, json.choices);
  assert.equal(json.choices.map(({ index }) => index), [0, 1]); // prettier-ignore
  const { logprobs, text } = json.choices[0]!;
  assert.is(logprobs!.tokens.join(''), text);
  assert.ok(logprobs!.token_logprobs.every((value) => value <= 0));
  const stop = logprobs!.tokens[1]!;
  const { json: stopped } = await post('/v1/completions', { ...body, prompt: 'Once', stop: [stop] });
  assert.is(stopped.choices[0]!.text, text.slice(0, text.indexOf(stop)));
  assert.is(stopped.choices[0]!.finish_reason, 'stop');
});

test('a text may have to be JSON of a schema', async () => {
  const schema = {
    type: 'object',
    properties: { a: { type: 'boolean' } },
    required: ['a'],
    additionalProperties: false,
  };
  const format = { type: 'json_schema', json_schema: { name: 'a', schema } };
  const { json } = await post('/v1/chat/completions', { ...greedy, max_tokens: 40, response_format: format });
  assert.match(json.choices[0]!.message.content, /^\{\s*"a"\s*:\s*(true|false)\s*\}$/);
  const wrong = { ...format, json_schema: { name: 'a', schema: { type: 'nothing' } } };
  const both = await Promise.all([
    post<Failure>('/v1/chat/completions', { ...greedy, response_format: wrong }),
    post('/v1/chat/completions', greedy),
  ]);
  assert.equal(both.map(({ status }) => status), [400, 200]); // prettier-ignore
});

test('embeddings: floats, base64, fewer features, as the pipeline has them', async () => {
  const extract = await pipeline('feature-extraction', 'models/pretrained/help-search-small');
  const texts = ['save a file', 'the whale'];
  const own = await extract(texts, { pooling: 'own', normalize: true });
  interface Vectors {
    readonly data: readonly { readonly embedding: string & number[]; readonly index: number }[];
    readonly usage: { readonly prompt_tokens: number };
  }
  const { json } = await post<Vectors>('/v1/embeddings', { model: 'search', input: texts });
  near(json.data.map(({ embedding }) => embedding), own.map((vector) => [...vector]), 'floats'); // prettier-ignore
  assert.ok(json.usage.prompt_tokens >= 5);
  const packed = await post<Vectors>('/v1/embeddings', { input: texts, encoding_format: 'base64' });
  const bytes = Buffer.from(packed.json.data[1]!.embedding, 'base64');
  near([...new Float32Array(bytes.buffer, bytes.byteOffset, 128)], [...own[1]!], 'base64');
  const short = await post<Vectors>('/v1/embeddings', { input: 'save a file', dimensions: 8 });
  near([Math.hypot(...short.json.data[0]!.embedding)], [1], 'length of the first eight');
  const long = await post<Failure>('/v1/embeddings', { input: 'save a file', dimensions: 129 });
  assert.equal([long.status, long.json.error.param], [400, 'dimensions']);
});

test('tasks give what pipelines give; requests beside each other share a batch, not a fault', async () => {
  const classify = await pipeline('text-classification', tasks, quiet);
  const texts = ['the quick fox', 'a brown dog jumps', 'over'];
  const own = await classify(texts, { topK: 2 });
  const ask = (inputs: unknown, parameters = {}) =>
    post<unknown>('/v1/tasks/text-classification', { model: 'labels', inputs, parameters });
  const long = 'fox '.repeat(500);
  const [list, one, fault, cut] = await Promise.all([
    ask(texts, { top_k: 2 }),
    ask(texts[1], { top_k: 2 }),
    ask(['fox', long], { top_k: 2 }),
    ask(long, { top_k: 2, truncation: true }),
  ]);
  near(list.json, own, 'a list');
  near(one.json, own[1], 'one');
  assert.is(cut.status, 200);
  assert.is(fault.status, 400);
  assert.match((fault.json as Failure).error.message, /^text 1 has 502 tokens/);
});

test('an encoder-decoder does each task that it writes a text in, under the name of its result', async () => {
  const folder = 'models/pretrained/translation-en-fr-small';
  const translate = await pipeline('translation', folder);
  const sources = ['Open the file.', 'Save'];
  const own = await translate(sources);
  const writing = await start({ models: [`fr=${folder}`] });
  try {
    const ask = (task: string, inputs: unknown, parameters = {}) =>
      post<unknown>(`/v1/tasks/${task}`, { inputs, parameters }, {}, writing);
    assert.equal((await ask('translation', sources)).json, own);
    const [{ translation_text: text }] = own as [{ translation_text: string }];
    assert.equal((await ask('text2text-generation', sources[0])).json, { generated_text: text });
    const short = await translate(sources, { maxNewTokens: 1 });
    assert.equal((await ask('translation', sources, { max_new_tokens: 1 })).json, short);
    await rejects(start({ models: [`fr=${folder}`], adapters: [`a=${folder}`] }), /takes no --adapter; leave it out/);
  } finally {
    await writing.close(0);
  }
});

test('what is wrong is told by its field, in the form and with the status of OpenAI', async () => {
  const chat = '/v1/chat/completions';
  const wrong: readonly [path: string, body: unknown, status: number, param: string | null, message: RegExp][] = [
    [chat, '{"messages": [', 400, null, /no JSON/],
    [chat, '[]', 400, null, /the body: .*object/],
    [chat, '['.repeat(100_000), 400, null, /objects or lists in each other/],
    [chat, new Blob([new Uint8Array([0x22, 0xff, 0x22])]), 400, null, /no UTF-8/],
    [chat, {}, 400, 'messages', /messages/],
    [chat, { messages: [] }, 400, 'messages', /messages/],
    [chat, { messages: [{ role: 'robot', content: '' }] }, 400, 'messages[0].role', /role/],
    [chat, { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 400, 'messages[0].content', /content/],
    [chat, { ...greedy, temperature: 'hot' }, 400, 'temperature', /temperature/],
    [chat, { ...greedy, temprature: 1 }, 400, 'temprature', /no field temprature/],
    [chat, { ...greedy, max_tokens: 1e9 }, 400, 'max_tokens', /max_tokens/],
    [chat, { ...greedy, n: 1000 }, 400, 'n', /n: /],
    [chat, { ...greedy, model: 'gpt-4' }, 404, 'model', /no model "gpt-4" here; use chat/],
    [chat, { ...greedy, model: '../../etc/passwd' }, 404, 'model', /no model/],
    [chat, { ...greedy, model: 'labels' }, 400, 'model', /labels is not one that generates texts; use chat/],
    [chat, { ...greedy, logit_bias: { 99999999: 1 } }, 400, 'logit_bias', /no token 99999999/],
    [chat, { messages: [{ role: 'user', content: 'word '.repeat(500) }] }, 400, 'messages', /no room for an answer/],
    ['/v1/completions', { prompt: [1e9] }, 400, 'prompt', /no token 1000000000/],
    ['/v1/completions', { prompt: 'a', suffix: 'b' }, 400, 'suffix', /suffix/],
    ['/v1/embeddings', { input: '' }, 400, 'input', /input/],
    ['/v1/tasks/translation', { inputs: 'a' }, 400, 'model', /name the one that does translation; none here does/],
    ['/v1/tasks/..%2f..', { inputs: 'a' }, 404, null, /no task/],
    ['/v1/tasks/__proto__', { inputs: 'a' }, 404, null, /no task/],
    ['/v1/nothing', {}, 404, null, /nothing at \/v1\/nothing/],
    ['/health/../v1/models/%2e%2e/x', {}, 404, null, /nothing at/],
  ];
  for (const [path, body, status, param, message] of wrong) {
    const { json, ...reply } = await post<Failure>(path, body);
    const shown = `${path} ${JSON.stringify(body)?.slice(0, 80)}: ${JSON.stringify(json)}`;
    assert.is(reply.status, status, shown);
    assert.equal(Object.keys(json), ['error'], shown);
    assert.is(json.error.param, param, shown);
    assert.match(json.error.message, message);
    assert.is(json.error.type, 'invalid_request_error');
    assert.is(reply.headers.get('x-content-type-options'), 'nosniff');
    assert.is(reply.headers.get('cache-control'), 'no-store');
  }
  const plain = await post<Failure>(chat, greedy, { headers: { 'content-type': 'text/plain' } });
  assert.is(plain.status, 415);
  const large = await post<Failure>(chat, { ...greedy, user: 'x'.repeat(2 ** 21) });
  assert.is(large.status, 413);
  const method = await fetch(`${server.url}${chat}`);
  assert.equal([method.status, method.headers.get('allow')], [405, 'POST']);
});

test('random bodies are refused or answered, and never a failure of the server', async () => {
  const random = new Random(3);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)]!;
  const values = [null, true, -1, 0, 1e308, 2 ** 53, '', 'a', '\ud800', '\u0000', [], [1], ['a', null], {}, { a: {} }];
  const names = [
    'model',
    'messages',
    'prompt',
    'input',
    'inputs',
    'parameters',
    'n',
    'stop',
    'seed',
    'stream',
    'tools',
  ];
  const paths = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/tasks/fill-mask'];
  for (let i = 0; i < 150; i++) {
    const body = { ...pick([{}, { ...greedy, max_tokens: 2 }, { prompt: 'a', max_tokens: 2 }, { input: 'a' }]) };
    for (let k = 0; k < 2; k++) Object.assign(body, { [pick(names)]: pick(values) });
    const path = pick(paths);
    const response = await fetch(server.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    await response.text();
    assert.ok(response.status < 500, `${path} ${JSON.stringify(body)}: ${response.status}`);
  }
});

test('a client that goes away stops its text', async () => {
  const written = (): number =>
    Number(/tapeform_completion_tokens_total\{model="chat"\} (\d+)/.exec(server.metrics.toString())?.[1] ?? 0);
  const before = written();
  const leave = new AbortController();
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages, max_tokens: 100, stream: true, logit_bias: { 50256: -100 } }),
    signal: leave.signal,
  });
  const reader = response.body!.getReader();
  await reader.read();
  leave.abort();
  while (server.handler.running > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const count = written() - before;
  assert.ok(count < 100, `${count} tokens were written`);
  assert.match(lines.at(-1)!, /POST \/v1\/chat\/completions 200/);
  const quick = await post('/v1/chat/completions', greedy);
  assert.is(quick.status, 200);
});

test('keys, other hosts, rates, the queue, pages of other sites', async () => {
  const key = 'k'.repeat(16);
  await rejects(start({ host: '0.0.0.0' }), /whoever reaches 0\.0\.0\.0 could use the models; set a key/);
  await rejects(start({ apiKeys: ['short'] }), /at least 16 characters/);
  await rejects(start({ models: [chatFolder, chatFolder] }), /two models are called chat/);
  const closed = await start({
    ...chatOnly(),
    apiKeys: ['other'.repeat(4), key],
    rateLimit: 3,
    corsOrigins: ['https://a.example'],
  });
  try {
    const ask = async (headers: Record<string, string>): Promise<Response> => {
      const response = await fetch(`${closed.url}/v1/models`, { headers });
      await response.arrayBuffer();
      return response;
    };
    for (const authorization of ['', 'Bearer', `Basic ${key}`, `Bearer ${key}x`, `Bearer ${key.slice(1)}`]) {
      const { status, headers } = await ask({ authorization });
      assert.equal([status, headers.get('www-authenticate')], [401, 'Bearer'], authorization);
    }
    const authorization = `Bearer ${key}`;
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await ask({ authorization })).status);
    assert.equal(statuses, [200, 200, 200, 429]);
    assert.ok(Number((await ask({ authorization })).headers.get('retry-after')) >= 1);
    const allowed = async (origin: string): Promise<string | null> =>
      (await ask({ authorization, origin })).headers.get('access-control-allow-origin');
    assert.is(await allowed('https://a.example'), 'https://a.example');
    assert.is(await allowed('https://b.example'), null);
    assert.is((await fetch(`${closed.url}/health`)).status, 200);
  } finally {
    await closed.close(0);
  }
  const access = new Access({ apiKeys: [], rateLimit: 0, hosts: ['localhost'] });
  access.check(new Request('http://localhost:8000/v1/models'), '127.0.0.1');
  assert.throws(() => access.check(new Request('http://evil.example/v1/models'), '127.0.0.1'), /evil\.example/);
  const clients = ['::ffff:10.0.0.1', '2001:db8::1', '2001:db8:0:0:ffff::2'].map(clientOf);
  assert.equal(clients, ['10.0.0.1', '2001:db8:0:0', '2001:db8:0:0']);
  const narrow = await start({ ...chatOnly(), limits: { queue: 1 }, batchSize: 1 });
  try {
    const many = Array.from({ length: 8 }, () => post<unknown>('/v1/chat/completions', greedy, {}, narrow));
    const replies = await Promise.all(many);
    const full = replies.filter(({ status }) => status === 429);
    assert.ok(full.length > 0 && full.length < 8, `${full.length} of 8 were refused`);
    assert.is(full[0]!.headers.get('retry-after'), '1');
  } finally {
    await narrow.close(0);
  }
});

test('a guard masks, refuses and counts, whole and in pieces, before and behind the model', async () => {
  const { text } = await alone({ maxNewTokens: 12, doSample: false });
  // What this model writes of its own accord, as words to look for: one is masked, a later one refused.
  const words = text.split(' ').filter((word) => /^\p{L}{3,}$/u.test(word));
  const [mask, refuse] = [words[0]!, words.find((word) => word !== words[0])!];
  assert.ok(mask && refuse, text);
  const rules = [
    { name: 'personal', action: 'mask' as const, personalData: ['email' as const], on: ['input' as const] },
    { name: 'never', action: 'refuse' as const, words: ['plutonium'] },
    { name: 'first', action: 'mask' as const, words: [mask], on: ['output' as const] },
    { name: 'second', action: 'refuse' as const, words: [refuse], on: ['output' as const] },
  ];
  const own = await start({ guard: { rules } });
  const masked = await start({ ...chatOnly(), guard: { rules: rules.slice(0, 3) } });
  try {
    const chat = '/v1/chat/completions';
    const expected = text.replaceAll(mask, '[FIRST]');
    const whole = await post(chat, greedy, {}, masked);
    assert.is(whole.json.choices[0]!.message.content, expected);
    const before = expected.slice(0, expected.indexOf(refuse));
    const { json } = await post(chat, greedy, {}, own);
    assert.equal([json.choices[0]!.message.content, json.choices[0]!.finish_reason], [before, 'content_filter']);
    const parts = (await stream(chat, greedy, own)).flatMap(({ choices }) => choices);
    assert.is(parts.map(({ delta }) => delta.content ?? '').join(''), before);
    assert.is(parts.at(-1)!.finish_reason, 'content_filter');
    const bad = await post<Failure>(chat, { messages: [{ role: 'user', content: 'Plutonium?' }] }, {}, own);
    assert.equal([bad.status, bad.json.error.code, bad.json.error.param], [400, 'content_filter', 'messages']);
    const deep = [{ ...messages[0], name: 'plutonium' }];
    assert.is((await post<Failure>(chat, { messages: deep }, {}, own)).status, 400);
    const { tokenizer } = await loadTextGenerator(chatFolder);
    const ids = Array.from(tokenizer.idsOf('plutonium'));
    assert.is((await post<Failure>('/v1/completions', { prompt: ids }, {}, own)).status, 400);
    const logprobs = await post<Failure>(chat, { ...greedy, logprobs: true }, {}, own);
    assert.equal([logprobs.status, logprobs.json.error.param], [400, 'logprobs']);
    // A masked text is embedded as if it had come so.
    const embed = async (input: string, of: Serving): Promise<string> =>
      JSON.stringify((await post<{ data: unknown }>('/v1/embeddings', { model: 'search', input }, {}, of)).json.data);
    assert.is(await embed('write to ann@example.org', own), await embed('write to [EMAIL]', server));
    assert.match(own.metrics.toString(), /tapeform_guard_total\{rule="personal",action="mask",side="input"\} 1/);
    assert.match(own.metrics.toString(), /tapeform_guard_total\{rule="second",action="refuse",side="output"\} 2/);
  } finally {
    await own.close(0);
    await masked.close(0);
  }
});

test('what is no HTTP is refused, and what comes too slowly ends', async () => {
  const { port } = new URL(server.url);
  const raw = (text: string): Promise<string> =>
    new Promise((resolve) => {
      let got = '';
      const socket = createConnection(Number(port), '127.0.0.1', () => socket.write(text));
      socket.setTimeout(3000, () => socket.destroy());
      socket.on('data', (chunk) => (got += chunk.toString()));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(got));
    });
  assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
  const close = 'connection: close\r\n\r\n';
  assert.match(await raw(`GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n${close}`), /^HTTP\/1\.1 400 /);
  assert.match(await raw(`GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n${close}`), /^HTTP\/1\.1 403 /);
  assert.match(await raw(`GET /v1/models HTTP/1.1\r\nhost: a b\r\n${close}`), /^HTTP\/1\.1 400 /);
  assert.match(
    await raw(`GET //evil.example/../v1/models HTTP/1.1\r\nhost: localhost\r\n${close}`),
    /^HTTP\/1\.1 404 /,
  );
  assert.is((await post('/v1/chat/completions', greedy)).status, 200);
});

test('the page to try models asks this server alone; metrics are Prometheus text', async () => {
  const page = await fetch(`${server.url}/`);
  assert.match(await page.text(), /default-src 'none'; .*connect-src 'self'/);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const line of metrics.trim().split('\n'))
    assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [\d.e+-]+)$/);
  assert.match(metrics, /tapeform_requests_total\{route="\/v1\/tasks\/TASK",status="404"\} 2/);
  assert.ok(lines.every((line) => !line.includes('Hello')));
});

test('at its end what runs is finished, and nothing else is taken', async () => {
  const own = await start(chatOnly());
  const running = post('/v1/chat/completions', { ...greedy, max_tokens: 60 }, {}, own);
  while (own.handler.running === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  const ended = own.close(20);
  const late = await own.handler.handle(new Request('http://localhost/v1/models'), { address: '' });
  assert.is(late.status, 503);
  assert.equal([(await running).status, (await running).json.usage.completion_tokens], [200, 60]);
  await ended;
  await rejects(fetch(`${own.url}/health`), /fetch failed/);
  const slow = await start({ ...chatOnly(), limits: { timeout: 0.02 } });
  const late2 = await post<Failure>('/v1/chat/completions', { ...greedy, max_tokens: 60 }, {}, slow);
  assert.equal([late2.status, late2.json.error.code], [504, 'timeout']);
  await slow.close(0);
});

/** The script, asked once when it listens. */
async function script(
  args: readonly string[],
  ask: (url: string, interrupt: () => void) => Promise<void>,
  env = {},
): Promise<Finished> {
  let asked: Promise<void> | undefined;
  const finished = await runScript([...args, '--port', '0', '--model', `chat=${chatFolder}`], {
    env,
    onStdout: (text, interrupt) => {
      const [, url] = /^listening {2}(http:\S+)$/m.exec(text) ?? [];
      if (url) asked ??= ask(url, interrupt);
    },
  });
  await asked;
  return finished;
}

test('the script listens until Ctrl-C, which ends it well; a lost device ends it with a message', async () => {
  const body = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(greedy) };
  const statuses: number[] = [];
  const ask = async (url: string): Promise<void> => {
    statuses.push((await fetch(`${url}/v1/chat/completions`, body)).status);
  };
  const served = await script(['train/serve.ts'], (url, interrupt) => ask(url).finally(interrupt));
  assert.is(served.code, 0, served.stderr);
  assert.match(served.stderr, /\nstopping {2}/);
  assert.is(served.stderr.includes('Hello'), false);
  const lost = ['--import', './test/support/lose-device.ts', 'train/serve.ts'];
  const ended = await script(lost, ask, { LOSE_DEVICE_AT: '40' });
  assert.is(ended.code, 1, ended.stderr);
  assert.match(ended.stderr, /the GPU device was destroyed/);
  assert.equal(statuses, [200, 503]);
});

test.run();
