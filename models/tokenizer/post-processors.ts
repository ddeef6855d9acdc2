// The post-processors of tokenizer.json: what stands around one text or two, and which spaces count to a
// token's place (Rust `tokenizers`, processors/*.rs).
import { isJsonObject } from '../../common/json-file.ts';
import type { JsonObject } from '../../common/json-file.ts';
import { brief } from '../../common/printable.ts';
import { isTokenId } from './added-tokens.ts';
import { Part } from './part.ts';

/** A text, the first or the second, or special tokens; `type` is the token type of both. */
export type LayoutPart =
  { readonly text: 0 | 1; readonly type: number } | { readonly ids: readonly number[]; readonly type: number };

/** How rows are made of texts. */
export interface PostProcessor {
  readonly single: readonly LayoutPart[];
  /** null: there is no place for a second text. */
  readonly pair: readonly LayoutPart[] | null;
  /**
   * Cuts spaces off the places of tokens, once for each element; true leaves a row's first token one space,
   * that which the tokenizer itself puts before it.
   */
  readonly trims: readonly boolean[];
}

const FIRST: LayoutPart = { text: 0, type: 0 };
const PLAIN: PostProcessor = { single: [FIRST], pair: [FIRST, { text: 1, type: 1 }], trims: [] };

/**
 * The post-processor of a tokenizer.json; null adds nothing. Error, one line: a type or an option that is not
 * known, named.
 */
export function readPostProcessor(json: unknown, where: string): PostProcessor {
  if (json === null || json === undefined) return PLAIN;
  return new Part(json, where).make(POST_PROCESSORS);
}

/** The special tokens before and after one text. */
export interface Template {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

export function templateOf({ single }: PostProcessor): Template {
  const at = single.findIndex((part) => 'text' in part);
  const idsOf = (parts: readonly LayoutPart[]): number[] => parts.flatMap((part) => ('ids' in part ? part.ids : []));
  return { before: idsOf(single.slice(0, at)), after: idsOf(single.slice(at)) };
}

/** How many special tokens stand in a row. */
export const countSpecial = (layout: readonly LayoutPart[]): number =>
  layout.reduce((sum, part) => sum + ('ids' in part ? part.ids.length : 0), 0);

const POST_PROCESSORS: ReadonlyMap<string, (part: Part) => PostProcessor> = new Map<
  string,
  (part: Part) => PostProcessor
>([
  ['Sequence', sequence],
  ['ByteLevel', (part) => ({ ...PLAIN, trims: trimsOf(part) })],
  ['TemplateProcessing', template],
  ['BertProcessing', (part) => bertLayout(...clsAndSep(part))],
  ['RobertaProcessing', roberta],
]);

function sequence(part: Part): PostProcessor {
  const made = part.list('processors').map((one) => one.make(POST_PROCESSORS));
  const adding = made.filter(({ single }) => single !== PLAIN.single);
  if (adding.length > 1) throw part.refuse('more than one of its processors adds special tokens');
  return { ...(adding[0] ?? PLAIN), trims: made.flatMap(({ trims }) => trims) };
}

const trimsOf = (part: Part): boolean[] =>
  part.flag('trim_offsets', true) ? [part.flag('add_prefix_space', true)] : [];

function clsAndSep(part: Part): [cls: number, sep: number] {
  const id = (name: string): number => {
    const pair = part.json[name];
    if (!Array.isArray(pair) || !isTokenId(pair[1])) throw part.refuse(`its ${name} is no [token, id]`);
    return pair[1];
  };
  return [id('cls'), id('sep')];
}

/** [CLS] first [SEP] second [SEP]. */
export function bertLayout(cls: number, sep: number): PostProcessor {
  const single: LayoutPart[] = [{ ids: [cls], type: 0 }, FIRST, { ids: [sep], type: 0 }];
  return { single, pair: [...single, { text: 1, type: 1 }, { ids: [sep], type: 1 }], trims: [] };
}

/** All tokens are of type 0, and two [SEP] stand between the texts. */
function roberta(part: Part): PostProcessor {
  const [cls, sep] = clsAndSep(part);
  const end: LayoutPart = { ids: [sep], type: 0 };
  const single: LayoutPart[] = [{ ids: [cls], type: 0 }, FIRST, end];
  return { single, pair: [...single, end, { text: 1, type: 0 }, end], trims: trimsOf(part) };
}

function template(part: Part): PostProcessor {
  const { single, pair, special_tokens: tokens = {} } = part.json;
  if (!Array.isArray(single) || !isJsonObject(tokens)) throw part.refuse('it has no single and special_tokens');
  const layout = (name: 'single' | 'pair', pieces: readonly unknown[]): LayoutPart[] =>
    pieces.map((piece) => readPiece(part, name, piece, tokens));
  const count = (parts: readonly LayoutPart[], text: 0 | 1): number =>
    parts.filter((one) => 'text' in one && one.text === text).length;
  const one = layout('single', single as unknown[]);
  if (count(one, 0) !== 1) throw part.refuse(`its single has the text ${count(one, 0)} times, where once is needed`);
  if (count(one, 1) !== 0) throw part.refuse('its single has a Sequence B, where a Sequence A alone is needed');
  const two = Array.isArray(pair) ? layout('pair', pair as unknown[]) : [];
  return { single: one, pair: count(two, 0) === 1 && count(two, 1) === 1 ? two : null, trims: [] };
}

function readPiece(part: Part, name: string, piece: unknown, tokens: JsonObject): LayoutPart {
  const { Sequence: text, SpecialToken: token } = isJsonObject(piece) ? piece : {};
  const typeOf = (of: JsonObject): number => (isTokenId(of['type_id']) ? of['type_id'] : 0);
  if (isJsonObject(text) && (text['id'] === 'A' || text['id'] === 'B'))
    return { text: text['id'] === 'A' ? 0 : 1, type: typeOf(text) };
  if (isJsonObject(token)) return { ids: specialIds(part, tokens, token['id']), type: typeOf(token) };
  throw part.refuse(`its ${name} has ${brief(piece)}, where a Sequence A or B, or a SpecialToken is needed`);
}

function specialIds(part: Part, tokens: JsonObject, name: unknown): number[] {
  const token = typeof name === 'string' && Object.hasOwn(tokens, name) ? tokens[name] : undefined;
  const ids: unknown = isJsonObject(token) ? token['ids'] : undefined;
  if (!Array.isArray(ids) || !ids.every(isTokenId)) throw part.refuse(`its special_tokens have no ids for ${name}`);
  return ids;
}
