// tokenizer.json of a BERT tokenizer, made from a bare vocabulary.
import type { JsonObject } from '../../common/json-file.ts';
import { isJsonObject } from '../../common/json-file.ts';

/** The five special tokens under their names in tokenizer_config.json, with BERT's own as defaults. */
const SPECIAL_TOKENS = {
  unk_token: '[UNK]',
  sep_token: '[SEP]',
  pad_token: '[PAD]',
  cls_token: '[CLS]',
  mask_token: '[MASK]',
};

export type SpecialTokens = Record<keyof typeof SPECIAL_TOKENS, string>;

/** A token in tokenizer_config.json is its text or an object with `content`. */
export function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return isJsonObject(value) && typeof value['content'] === 'string' ? value['content'] : null;
}

/** The special tokens a tokenizer_config.json names, BERT's own where it names none. */
export function readSpecialTokens(config: JsonObject): SpecialTokens {
  const tokens = { ...SPECIAL_TOKENS };
  for (const name of Object.keys(tokens) as (keyof SpecialTokens)[])
    tokens[name] = tokenText(config[name]) ?? tokens[name];
  return tokens;
}

/** Special tokens without a role; Transformers before 5 calls them additional. */
function extraSpecialTokens(config: JsonObject): string[] {
  const extra = config['extra_special_tokens'] ?? config['additional_special_tokens'];
  return Array.isArray(extra) ? extra.flatMap((token) => tokenText(token) ?? []) : [];
}

/** tokenizer.json for a vocabulary: BERT's normaliser, pre-tokeniser, WordPiece, template and decoder. */
export function tokenizerJson(vocab: readonly string[], config: JsonObject, source: string): JsonObject {
  const ids = new Map(vocab.map((token, id) => [token, id]));
  const special = readSpecialTokens(config);
  const extra = extraSpecialTokens(config).filter((content) => ids.has(content));
  const added = [...new Set([...Object.values(special), ...extra])].map((content) => {
    const id = ids.get(content);
    if (id === undefined)
      throw new Error(
        `${source} has no ${content}: a BERT vocabulary needs it, or tokenizer_config.json must name another`,
      );
    return { id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  });
  const [cls, sep] = [special.cls_token, special.sep_token];
  const token = (id: string, type: number): JsonObject => ({ SpecialToken: { id, type_id: type } });
  const sequence = (id: string, type: number): JsonObject => ({ Sequence: { id, type_id: type } });
  const templateToken = (content: string): JsonObject => ({ id: content, ids: [ids.get(content)], tokens: [content] });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.sort((a, b) => a.id - b.id),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [token(cls, 0), sequence('A', 0), token(sep, 0)],
      pair: [token(cls, 0), sequence('A', 0), token(sep, 0), sequence('B', 1), token(sep, 1)],
      special_tokens: { [cls]: templateToken(cls), [sep]: templateToken(sep) },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: special.unk_token,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(ids),
    },
  };
}
