// SentencePiece's normaliser as tokenizer.json has it: a trie of what to replace (a "darts-clone" double
// array), and what by. As in Rust's spm_precompiled and its use in `tokenizers` (normalizers/precompiled.rs),
// of all entries that a stretch begins with the shortest counts, and it replaces the whole stretch.
import { fromBase64, utf8 } from '../../common/bytes.ts';
import type { Part } from './part.ts';
import type { Change } from './stretch.ts';

/** Longer clusters, in bytes, are replaced character by character only. */
const LONGEST_CLUSTER = 5;

/** Such characters are clusters of their own where no other stands beside them, but for "\r\n". */
const PLAIN = /^[\0-\x0c\x0e-\u02ff]*$/;

const MAX_CACHED = 10_000;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A normaliser: what it makes of a text, and the same with what became of each character. */
interface PrecompiledNormalizer {
  text(text: string): string;
  changes(text: string): Change[];
}

/** The normaliser of a Precompiled part. Error, one line: its charsmap is damaged. */
export function precompiledNormalizer(part: Part): PrecompiledNormalizer {
  const find = readCharsmap(part);
  const known = new Map<string, string | null>();
  const replacement = (stretch: string): string | null => {
    let found = known.get(stretch);
    if (found === undefined) {
      found = find(utf8(stretch));
      if (known.size >= MAX_CACHED) known.clear();
      known.set(stretch, found);
    }
    return found;
  };
  const clusters = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  /** Calls back for each character or cluster with what replaces it, null where nothing does. */
  const visit = (text: string, call: (from: string, to: string | null) => void): void => {
    if (PLAIN.test(text)) {
      for (const char of text) call(char, replacement(char));
      return;
    }
    for (const { segment } of clusters.segment(text)) {
      const whole = utf8(segment).length <= LONGEST_CLUSTER ? replacement(segment) : null;
      if (whole !== null) call(segment, whole);
      else for (const char of segment) call(char, replacement(char));
    }
  };
  return {
    text(text) {
      let result = '';
      visit(text, (from, to) => (result += to ?? from));
      return result;
    },
    changes(text) {
      const changes: (readonly [string, number])[] = [];
      visit(text, (from, to) => replaceWith(changes, from, to ?? from));
      return changes;
    },
  };
}

/**
 * Appends the characters of `to`: those more than `from` has are new, and the last one stands for those it
 * has more.
 */
function replaceWith(changes: (readonly [string, number])[], from: string, to: string): void {
  const chars = Array.from(to);
  const more = chars.length - Array.from(from).length;
  chars.forEach((char, i) => changes.push([char, chars.length - i <= more ? 1 : 0]));
  const last = changes.at(-1);
  // As in Rust: where nothing came before, what is taken away is forgotten.
  if (more < 0 && last) changes[changes.length - 1] = [last[0], last[1] + more];
}

/** The shortest entry that some bytes begin with, as what it is replaced by; null where there is none. */
function readCharsmap(part: Part): (bytes: Uint8Array) => string | null {
  const data = fromBase64(part.text('precompiled_charsmap'));
  const view = new DataView(data.buffer);
  const damaged = part.refuse('its precompiled_charsmap is damaged; fetch or save the file again');
  const size = data.length >= 4 ? view.getUint32(0, true) : NaN;
  if (!(size % 4 === 0 && size > 0 && 4 + size <= data.length)) throw damaged;
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const texts = data.subarray(4 + size);
  const unitAt = (node: number): number => {
    const unit = units[node];
    if (unit === undefined) throw damaged;
    return unit;
  };
  const offsetOf = (unit: number): number => ((unit >>> 10) << ((unit & (1 << 9)) >>> 6)) >>> 0;
  return (bytes) => {
    let node = offsetOf(unitAt(0));
    for (const byte of bytes) {
      if (byte === 0) return null;
      node = (node ^ byte) >>> 0;
      const unit = unitAt(node);
      if ((unit & 0x800000ff) >>> 0 !== byte) return null;
      node = (node ^ offsetOf(unit)) >>> 0;
      if (((unit >>> 8) & 1) === 0) continue;
      const start = unitAt(node) & 0x7fffffff;
      const end = texts.indexOf(0, start);
      return decoder.decode(texts.subarray(start, end < 0 ? texts.length : end));
    }
    return null;
  };
}
