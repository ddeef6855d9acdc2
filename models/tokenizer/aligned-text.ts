/**
 * A text and where each of its UTF-16 units comes from: unit i stems from [starts[i], ends[i]) of the
 * original string.
 */
export interface AlignedText {
  text: string;
  starts: ArrayLike<number>;
  ends: ArrayLike<number>;
}

/** The original itself: every unit stems from itself. */
export function alignOriginal(text: string): AlignedText {
  const starts = Int32Array.from({ length: text.length }, (_, index) => index);
  return { text, starts, ends: starts.map((index) => index + 1) };
}

/** Units [start, stop) of an aligned text. */
export function sliceAligned({ text, starts, ends }: AlignedText, start: number, stop: number): AlignedText {
  const part = (values: ArrayLike<number>): ArrayLike<number> => Array.prototype.slice.call(values, start, stop);
  return { text: text.slice(start, stop), starts: part(starts), ends: part(ends) };
}
