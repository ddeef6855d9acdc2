// The post-processors of tokenizer.json, as far as they put special tokens around one text (Rust
// `tokenizers`, processors/*.rs).
import { isJsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { isTokenId } from './added-tokens.ts';
import { Part } from './part.ts';

/** The ids before and after a text. */
export interface Template {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const NOTHING: Template = { before: [], after: [] };

/**
 * The special tokens of a tokenizer.json; null adds none. Error, one line: a type or an option that is not
 * known, named.
 */
export function readPostProcessor(json: unknown, where: string): Template {
  if (json === null || json === undefined) return NOTHING;
  return new Part(json, where).make(POST_PROCESSORS);
}

const POST_PROCESSORS: ReadonlyMap<string, (part: Part) => Template> = new Map<string, (part: Part) => Template>([
  ['Sequence', sequence],
  ['ByteLevel', () => NOTHING], // trims offsets, which are not given
  ['TemplateProcessing', template],
  ['BertProcessing', clsAndSep],
  ['RobertaProcessing', clsAndSep],
]);

function sequence(part: Part): Template {
  const made = part.list('processors').map((one) => one.make(POST_PROCESSORS));
  const adding = made.filter((one) => one !== NOTHING);
  if (adding.length > 1) throw part.refuse('more than one of its processors adds special tokens');
  return adding[0] ?? NOTHING;
}

function clsAndSep(part: Part): Template {
  const id = (name: string): number => {
    const pair = part.json[name];
    if (!Array.isArray(pair) || !isTokenId(pair[1])) throw part.refuse(`its ${name} is no [token, id]`);
    return pair[1];
  };
  return { before: [id('cls')], after: [id('sep')] };
}

function template(part: Part): Template {
  const { single, special_tokens: tokens = {} } = part.json;
  if (!Array.isArray(single) || !isJsonObject(tokens)) throw part.refuse('it has no single and special_tokens');
  const before: number[] = [];
  const after: number[] = [];
  let texts = 0;
  for (const piece of single as unknown[]) {
    const { Sequence: text, SpecialToken: token } = isJsonObject(piece) ? piece : {};
    if (isJsonObject(text) && text['id'] === 'A') texts++;
    else if (isJsonObject(token)) (texts === 0 ? before : after).push(...specialIds(part, tokens, token['id']));
    else throw part.refuse(`its single has ${brief(piece)}, where a Sequence A or a SpecialToken is needed`);
  }
  if (texts !== 1) throw part.refuse(`its single has the text ${texts} times, where once is needed`);
  return { before, after };
}

function specialIds(part: Part, tokens: Readonly<Record<string, unknown>>, name: unknown): number[] {
  const token = typeof name === 'string' && Object.hasOwn(tokens, name) ? tokens[name] : undefined;
  const ids: unknown = isJsonObject(token) ? token['ids'] : undefined;
  if (!Array.isArray(ids) || !ids.every(isTokenId)) throw part.refuse(`its special_tokens have no ids for ${name}`);
  return ids;
}
