// Which tokens stay when a text is too long; the rules are those of Rust `tokenizers` (utils/truncation.rs).

export type TruncationStrategy = 'longest_first' | 'only_first' | 'only_second';
export type Side = 'left' | 'right';

/** A stretch [start, stop) of a text's tokens. */
export type Window = readonly [start: number, stop: number];

/**
 * How many tokens of the first and the second text fit into `room` tokens together; `second` is null for a
 * single text.
 *
 * Errors: `only_first` or `only_second` where cutting that text alone does not suffice, or there is no second
 * text.
 */
export function lengthsThatFit(
  first: number,
  second: number | null,
  room: number,
  strategy: TruncationStrategy,
): [first: number, second: number] {
  const excess = first + (second ?? 0) - room;
  if (excess <= 0) return [first, second ?? 0];
  if (room === 0) return [0, 0];
  if (strategy === 'longest_first') return second === null ? [room, 0] : shareRoom(first, second, room);
  const target = strategy === 'only_first' ? first : second;
  if (target === null) throw new Error(`truncation "only_second" needs pairs of texts: use "only_first" or true`);
  if (target <= excess) {
    const which = strategy === 'only_first' ? 'first' : 'second';
    throw new Error(
      `truncation "${strategy}" must drop ${excess} tokens but the ${which} text has ${target}: ` +
        'use "longest_first" or a larger maxLength',
    );
  }
  return strategy === 'only_first' ? [first - excess, second ?? 0] : [first, target - excess];
}

/** The longer text is cut first; where both are long, each gets half, and the longer one the odd token. */
function shareRoom(first: number, second: number, room: number): [number, number] {
  const swap = first > second;
  let shorter = swap ? second : first;
  let longer = shorter > room ? shorter : Math.max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = Math.floor(room / 2);
    longer = shorter + (room % 2);
  }
  return swap ? [longer, shorter] : [shorter, longer];
}

/**
 * Windows of at most `size` tokens over `length` tokens, each sharing `stride` tokens with the one before;
 * the first is what truncation keeps. From the right side's view they start at the beginning, from the left's
 * at the end.
 */
export function windowsOver(length: number, size: number, stride: number, side: Side): Window[] {
  if (length <= size) return [[0, length]];
  if (size === 0) return [[0, 0]];
  if (stride >= size) {
    throw new Error(
      `stride ${stride} must be smaller than the ${size} tokens a row has room for: use a larger maxLength`,
    );
  }
  const windows: Window[] = [];
  for (let skipped = 0; ; skipped += size - stride) {
    const last = skipped + size >= length;
    if (side === 'right') windows.push([skipped, Math.min(skipped + size, length)]);
    else windows.push([Math.max(0, length - skipped - size), length - skipped]);
    if (last) return windows;
  }
}
