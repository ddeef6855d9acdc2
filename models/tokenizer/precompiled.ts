// SentencePiece's normaliser as tokenizer.json has it: a trie of what to replace (a "darts-clone" double
// array), and what by. As in Rust's spm_precompiled and its use in `tokenizers` (normalizers/precompiled.rs),
// of all entries that a stretch begins with the shortest counts, and it replaces the whole stretch.
import type { Part } from './part.ts';

/** Longer clusters, in bytes, are replaced character by character only. */
const LONGEST_CLUSTER = 5;

/** Such characters are clusters of their own where no other stands beside them, but for "\r\n". */
const PLAIN = /^[\0-\x0c\x0e-\u02ff]*$/;

const MAX_CACHED = 10_000;

/** The normaliser of a Precompiled part. Error, one line: its charsmap is damaged. */
export function precompiledNormalizer(part: Part): (text: string) => string {
  const find = readCharsmap(part);
  const known = new Map<string, string | null>();
  const replacement = (stretch: string): string | null => {
    let found = known.get(stretch);
    if (found === undefined) {
      found = find(Buffer.from(stretch, 'utf8'));
      if (known.size >= MAX_CACHED) known.clear();
      known.set(stretch, found);
    }
    return found;
  };
  const cluster = (stretch: string): string => {
    if (Buffer.byteLength(stretch) <= LONGEST_CLUSTER) {
      const whole = replacement(stretch);
      if (whole !== null) return whole;
    }
    let result = '';
    for (const char of stretch) result += replacement(char) ?? char;
    return result;
  };
  const clusters = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
  return (text) => {
    let result = '';
    if (PLAIN.test(text)) for (const char of text) result += replacement(char) ?? char;
    else for (const { segment } of clusters.segment(text)) result += cluster(segment);
    return result;
  };
}

/** The shortest entry that some bytes begin with, as what it is replaced by; null where there is none. */
function readCharsmap(part: Part): (bytes: Uint8Array) => string | null {
  const data = Buffer.from(part.text('precompiled_charsmap'), 'base64');
  const damaged = part.refuse('its precompiled_charsmap is damaged; fetch or save the file again');
  const size = data.length >= 4 ? data.readUInt32LE(0) : NaN;
  if (!(size % 4 === 0 && size > 0 && 4 + size <= data.length)) throw damaged;
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => data.readUInt32LE(4 + 4 * i));
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
      return texts.toString('utf8', start, end < 0 ? texts.length : end);
    }
    return null;
  };
}
