// Texts that have to follow a format: grammars against the package jsonschema, JavaScript's expressions and a
// look at every token; models that would say anything; what is refused.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as z from 'zod';
import { generate, generateText, streamText, Tokenizer } from '../../models/index.ts';
import type { GenerationOptions } from '../../models/index.ts';
import { Constraint } from '../../models/generation/constraint/allowed-tokens.ts';
import type { Term } from '../../models/generation/constraint/grammar.ts';
import { jsonObject, jsonSchema } from '../../models/generation/constraint/json-schema.ts';
import { regular } from '../../models/generation/constraint/regular.ts';
import { Random } from '../../common/random.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { rejects } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { indifferentModel } from '../support/scripted-model.ts';

const test = suite('response format');

/** The place behind a text; undefined where it does not fit. */
function after(grammar: Term | undefined, bytes: Uint8Array): Term | undefined {
  for (const byte of bytes) grammar = grammar?.after(byte);
  return grammar;
}
const fits = (grammar: Term, text: string): boolean => after(grammar, new TextEncoder().encode(text))?.isDone ?? false;

interface Golden {
  readonly texts: readonly string[];
  readonly broken: readonly string[];
  readonly schemas: readonly { readonly schema: JsonObject; readonly valid: string }[];
}

test('a schema takes the texts that jsonschema calls valid', () => {
  const golden = JSON.parse(readFileSync(goldenFile('json-schema.json'), 'utf8')) as Golden;
  let taken = 0;
  for (const { schema, valid } of golden.schemas) {
    const grammar = jsonSchema(schema);
    const name = JSON.stringify(schema);
    // Characters of an expression are escaped where they must be only, and a fixed value has one text.
    const isStrict = /pattern|enum|const/.test(name);
    for (const [i, text] of golden.texts.entries()) {
      const isMissed = isStrict && /\\u|, |: /.test(text);
      if (fits(grammar, text)) {
        assert.is(valid[i], '1', `${name} takes ${text}`);
        taken++;
      } else assert.ok(valid[i] === '0' || isMissed, `${name} refuses ${text}`);
    }
    for (const text of golden.broken) assert.not(fits(grammar, text), `${name} takes ${text}`);
  }
  assert.ok(taken > 1000, `${taken}`);
});

test('an expression takes the texts that JavaScript finds whole', () => {
  const random = new Random(5);
  const atoms = ['a', 'b', 'é', '🙂', '.', '[ab]', '[^a]', '\\d', '\\w', '\\s', '\\D', '[b-é]', '\\.', '\\p{L}', '1'];
  const make = (depth: number): string => {
    const parts = Array.from({ length: 1 + random.int(3) }, () => {
      const part = depth > 0 && random.int(3) === 0 ? `(?:${make(depth - 1)})` : atoms[random.int(atoms.length)]!;
      return part + ['', '', '?', '{1,2}', '{2}'][random.int(5)]!;
    });
    return random.int(4) === 0 ? `${parts.join('')}|${make(0)}` : parts.join('');
  };
  const letters = ['a', 'b', 'é', '🙂', '1', '.', ' ', 'z', '\n', '_', '٣'];
  let taken = 0;
  for (let round = 0; round < 300; round++) {
    const pattern = make(2);
    let grammar: Term;
    try {
      grammar = regular(pattern);
    } catch (error) {
      assert.match((error as Error).message, /may be empty|quantifier/); // (a?){2}
      continue;
    }
    const anywhere = regular(`(?:${pattern})`, { anywhere: true });
    const [whole, found] = [new RegExp(`^(?:${pattern})$`, 'u'), new RegExp(pattern, 'u')];
    for (let i = 0; i < 40; i++) {
      const text = Array.from({ length: random.int(6) }, () => letters[random.int(letters.length)]!).join('');
      assert.is(fits(grammar, text), whole.test(text), `${pattern} and ${JSON.stringify(text)}`);
      assert.is(fits(anywhere, text), found.test(text), `somewhere ${pattern} and ${JSON.stringify(text)}`);
      if (whole.test(text)) taken++;
    }
  }
  assert.ok(taken > 500, `${taken}`);
});

const gpt2 = Tokenizer.gpt2();

test('the tokens let through are those whose bytes fit, looked at one by one', () => {
  const schema = { type: 'object', properties: { name: { type: 'string' }, n: { type: 'integer', maximum: 42 } } };
  for (const begin of ['', '{"name": "', '{"n": 4', '{"name": "\\', '{"name":"é', '{"name": "a", "n": -']) {
    const place = after(jsonSchema(schema), new TextEncoder().encode(begin))!;
    const scores = new Float32Array(gpt2.vocabSize);
    const end = gpt2.eosTokenId!;
    new Constraint(place, gpt2).processor(0, new Set([end]))([], scores);
    for (let id = 0; id < gpt2.vocabSize; id++) {
      const bytes = gpt2.tokenBytes(id);
      const isMeant = bytes ? after(place, bytes) !== undefined : id === end && place.isDone;
      if ((scores[id] === 0) !== isMeant) assert.unreachable(`${begin} and ${gpt2.idToToken(id)}: ${scores[id]}`);
    }
  }
});

test('the bytes of tokens joined are what they decode to, in each kind of tokenizer', () => {
  const kinds = JSON.parse(readFileSync(goldenFile('tokenizer-kinds.json'), 'utf8')) as {
    readonly name: string;
    readonly json: JsonObject & { readonly decoder?: { readonly type: string } | null };
    readonly texts: readonly [text: string, ids: number[]][];
  }[];
  let compared = 0;
  for (const { name, json, texts } of kinds) {
    const tokenizer = Tokenizer.fromJson(json);
    if (!['ByteLevel', 'Metaspace', 'Fuse', 'Sequence'].includes(json.decoder?.type ?? '')) continue;
    for (const [, ids] of texts) {
      const bytes = ids.map((id) => tokenizer.tokenBytes(id));
      if (ids.length === 0 || bytes.some((one) => one === undefined)) continue;
      const joined = Buffer.concat(bytes as Uint8Array[]).toString();
      const decoded = tokenizer.decode(ids);
      // At the beginning of a text, the space that stands for it is not shown.
      if (joined.includes('\uFFFD') || decoded.includes('\uFFFD')) continue;
      assert.ok(joined === decoded || joined === ` ${decoded}`, `${name}: ${JSON.stringify([joined, decoded])}`);
      compared++;
    }
  }
  assert.ok(compared > 20, `${compared}`);
});

const model = indifferentModel(gpt2.vocabSize, { eosTokenId: gpt2.eosTokenId! });
const drawn = { doSample: true, topK: 0, maxNewTokens: 200 } as const;

test('whatever a model would say, what it says is of the schema', async () => {
  const person = z.strictObject({
    name: z.string().max(8),
    age: z.int().min(0).max(120),
    tags: z.array(z.enum(['new', 'old "one"', 'naïve'])).max(2),
    when: z.iso.date().optional(),
    next: z.union([z.null(), z.strictObject({ x: z.number().min(-1).max(1) })]),
  });
  const { format: _, ...schema } = z.toJSONSchema(person, { io: 'input' }) as JsonObject;
  const properties = schema['properties'] as Record<string, JsonObject>;
  delete properties['when']!['pattern']; // zod says it twice
  const prompts = Array.from({ length: 5 }, () => 'Once');
  const options: GenerationOptions = {
    ...drawn,
    seed: prompts.map((_, i) => i),
    responseFormat: { type: 'json_schema', schema },
  };
  for (const { text, finish } of await generateText(model, gpt2, prompts, options)) {
    assert.is(finish, 'stop', text);
    const { success, error } = person.safeParse(JSON.parse(text));
    assert.ok(success, `${text}: ${error?.message}`);
  }
});

test('a stream, a beam search, a choice, an expression', async () => {
  const one = async (options: GenerationOptions): Promise<string> => {
    const [{ text } = { text: '' }] = await generateText(model, gpt2, 'Once', options);
    return text;
  };
  const openai = {
    type: 'json_schema',
    json_schema: { name: 'n', schema: { type: 'integer', minimum: 7, maximum: 9 } },
  };
  const responseFormat = openai as GenerationOptions['responseFormat'];
  assert.match(await one({ responseFormat, numBeams: 3 }), /^[789]$/);
  let streamed = '';
  for await (const { text } of streamText(model, gpt2, 'Once', { ...drawn, seed: 3, responseFormat })) streamed += text;
  assert.match(streamed, /^[789]$/);
  const any = await one({ ...drawn, seed: 1, responseFormat: { type: 'json_object' } });
  assert.ok(after(jsonObject(), new TextEncoder().encode(any)), any); // as far as it came
  for (let seed = 0; seed < 3; seed++) {
    const choices = ['yes', 'no', 'not sure 🙂'];
    assert.ok(choices.includes(await one({ ...drawn, seed, responseFormat: { type: 'choice', choices } })));
    const date = await one({ ...drawn, seed, responseFormat: { type: 'regex', pattern: '\\d{4}-\\d{2}' } });
    assert.match(date, /^\d{4}-\d{2}$/);
  }
});

test('where a text may end it may go on, and the model says which', async () => {
  const texts = await generateText(model, gpt2, ['a'], {
    ...drawn,
    numReturnSequences: 20,
    responseFormat: { type: 'regex', pattern: 'a{1,3}' },
  });
  const found = new Set(texts.map(({ text, finish }) => `${text} ${finish}`));
  assert.equal([...found].sort(), ['a eos', 'aa eos', 'aaa stop']);
});

for (const [schema, message] of [
  [{ type: 'integer', multipleOf: 2 }, /multipleOf at # is not known here/],
  [{ type: 'object', properties: { a: { type: 'x' } } }, /type at #\/properties\/a is "x"/],
  [{ anyOf: [{ $ref: '#' }] }, /no value fits #/],
  [{ anyOf: [{ $ref: '#' }, { type: 'null' }] }, /# refers to itself as a whole/],
  [{ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, /no value fits #/],
  [{ type: 'array', items: { $ref: '#/$defs/b' } }, /#\/\$defs\/b, which is not there/],
  [{ $ref: 'other.json#/a' }, /refers to a place of the same schema/],
  [{ type: 'string', pattern: 'a(?=b)' }, /pattern at #: .*it looks ahead or behind/],
  [{ type: 'string', pattern: 'a^b' }, /an anchor/],
  [{ type: 'string', pattern: '(a' }, /a bracket that is not closed/],
  [{ type: 'string', format: 'uri' }, /format "uri" at # is not known here; use one of date/],
  [{ type: 'string', minLength: 3, maxLength: 2 }, /no text fits/],
  [{ type: 'string', minLength: 'x' }, /minLength at # is "x"/],
  [{ type: 'integer', minimum: 3, maximum: 2 }, /no whole number fits/],
  [{ type: 'number', minimum: 0.5 }, /the bound 0.5 at # is no whole number/],
  [{ type: 'object', properties: {}, required: ['a'], additionalProperties: false }, /requires "a"/],
  [{ enum: 'a' }, /#\/enum is "a"; it must be a list/],
  [{ properties: [] }, /#\/properties must be an object/],
  [[], /# is \[\]; a schema is an object/],
] as const)
  test(`refused: ${JSON.stringify(schema)}`, () => {
    assert.throws(() => jsonSchema(schema), message);
  });

test('formats that are none, and where there is no tokenizer to know texts', async () => {
  const ask = (responseFormat: unknown): Promise<unknown> =>
    generateText(model, gpt2, 'a', { responseFormat } as GenerationOptions);
  await rejects(ask({ type: 'xml' }), /responseFormat.* its type is text, json_object/);
  await rejects(ask({ type: 'json_schema' }), /json_schema needs a schema/);
  await rejects(ask({ type: 'choice', choices: [] }), /responseFormat/);
  const format = { responseFormat: { type: 'json_object' } } as const;
  await rejects(generate(model, [[1]], format), /use generateText or streamText/);
  // A text that cannot end, of a model that has no token for it, ends with its format.
  const endless = indifferentModel(gpt2.vocabSize);
  const [text] = await generateText(endless, gpt2, 'a', {
    eosTokenId: null,
    responseFormat: { type: 'regex', pattern: 'ab' },
  });
  assert.equal([text!.text, text!.finish], ['ab', 'stop']);
});

test('an object nested without end takes no more memory than its depth', () => {
  let place: Term | undefined = jsonObject();
  for (let depth = 0; depth < 2000; depth++) place = after(place, new TextEncoder().encode('{"a": '));
  assert.ok(after(place, new TextEncoder().encode(`1${'}'.repeat(2000)}`))?.isOver);
});

test.run();
