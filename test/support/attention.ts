import { build, get, total } from './nd.ts';
import type { Nd } from './nd.ts';

export interface ReferenceOptions {
  readonly causal?: boolean;
  readonly slidingWindow?: number | undefined;
  readonly scale?: number;
  readonly softCap?: number | undefined;
  /** [B, T]: neighbours with one number are of one document, and see no other. */
  readonly documents?: Nd | undefined;
  /** Factor of weight i of [..., Tq, Tk] in row-major order: dropout. */
  readonly keep?: (i: number) => number;
}

/**
 * softmax(q k^T * scale + mask) v over [..., T, D], element by element, with its gradients by the textbook.
 */
export class AttentionReference {
  readonly y: Nd;
  private readonly inputs: readonly [q: Nd, k: Nd, v: Nd];
  private readonly weights: Nd;
  private readonly kept: Nd;
  private readonly through: (index: readonly number[]) => boolean;
  private readonly scale: number;
  /** Derivatives of the cap. */
  private readonly slopes: Nd;

  /** `mask`: true (not 0) attends where `truth` says so, else added. */
  constructor(inputs: readonly [Nd, Nd, Nd], mask: Nd | undefined, truth: boolean, options: ReferenceOptions) {
    const [q, k, v] = inputs;
    const [keys, width] = [k.shape.at(-2)!, q.shape.at(-1)!];
    const { causal = false, scale = 1 / Math.sqrt(width), keep = () => 1 } = options;
    const { slidingWindow = Infinity, softCap = Infinity, documents } = options;
    const capped = (s: number): number => (softCap === Infinity ? s : softCap * Math.tanh(s / softCap));
    const hides = (index: readonly number[]): boolean => truth && mask !== undefined && get(mask, index) === 0;
    const batch = k.shape.slice(0, -2).map((length, axis) => Math.max(length, q.shape[axis]!));
    const raw = build([...batch, q.shape.at(-2)!, keys], (index) => {
      const [lead, i, j] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!];
      return scale * total(Array.from({ length: width }, (_, d) => get(q, [...lead, i, d]) * get(k, [...lead, j, d])));
    });
    this.slopes = { shape: raw.shape, data: raw.data.map((s) => 1 - (capped(s) / softCap) ** 2) };
    const scores = build(raw.shape, (index) => {
      const [i, j] = [index.at(-2)!, index.at(-1)!];
      if (causal && (j > i || j <= i - slidingWindow)) return -Infinity;
      if (hides(index) || (documents && !areTogether(documents, index[0]!, [i, j]))) return -Infinity;
      return capped(get(raw, index)) + (mask && !truth ? get(mask, index) : 0);
    });
    this.inputs = inputs;
    this.scale = scale;
    this.through = (index) => !hides(index);
    this.weights = rowwise(scores, (row) => {
      const top = Math.max(...row);
      if (top === -Infinity) return row.map(() => 0); // nothing to attend to
      const powers = row.map((s) => Math.exp(s - top));
      const sum = total(powers);
      return powers.map((p) => p / sum);
    });
    this.kept = { shape: scores.shape, data: this.weights.data.map((w, i) => w * keep(i)) };
    this.y = build([...scores.shape.slice(0, -1), v.shape.at(-1)!], (index) => {
      const [lead, i, d] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!];
      return total(Array.from({ length: keys }, (_, j) => get(this.kept, [...lead, i, j]) * get(v, [...lead, j, d])));
    });
    this.keep = keep;
  }

  private readonly keep: (i: number) => number;

  /** Gradients of q, k, v for the cotangent g of y; all of equal leading axes. */
  gradients(g: Nd): [dq: Nd, dk: Nd, dv: Nd] {
    const [q, k, v] = this.inputs;
    const [queries, keys, width] = [q.shape.at(-2)!, k.shape.at(-2)!, q.shape.at(-1)!];
    const ofWeights = build(this.weights.shape, (index) => {
      const [lead, i, j] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!];
      return total(Array.from({ length: width }, (_, d) => get(g, [...lead, i, d]) * get(v, [...lead, j, d])));
    });
    for (let i = 0; i < ofWeights.data.length; i++) ofWeights.data[i]! *= this.keep(i);
    const ofScores = build(this.weights.shape, (index) => {
      const row = Array.from({ length: keys }, (_, j) => [...index.slice(0, -1), j]);
      const along = total(row.map((at) => get(this.weights, at) * get(ofWeights, at)));
      const passed = get(this.slopes, index) * get(this.weights, index);
      return this.through(index) ? passed * (get(ofWeights, index) - along) : 0;
    });
    const over = (like: Nd, count: number, term: (lead: number[], t: number, other: number, d: number) => number): Nd =>
      build(like.shape, (index) => {
        const [lead, t, d] = [index.slice(0, -2), index.at(-2)!, index.at(-1)!];
        return total(Array.from({ length: count }, (_, other) => term(lead, t, other, d)));
      });
    return [
      over(q, keys, (lead, i, j, d) => this.scale * get(ofScores, [...lead, i, j]) * get(k, [...lead, j, d])),
      over(k, queries, (lead, j, i, d) => this.scale * get(ofScores, [...lead, i, j]) * get(q, [...lead, i, d])),
      over(v, queries, (lead, j, i, d) => get(this.kept, [...lead, i, j]) * get(g, [...lead, i, d])),
    ];
  }
}

/** Whether all tokens from one to the other have one number. */
function areTogether(documents: Nd, row: number, [i, j]: readonly [number, number]): boolean {
  const [from, to] = [Math.min(i, j), Math.max(i, j)];
  const numbers = Array.from({ length: to - from + 1 }, (_, t) => get(documents, [row, from + t]));
  return numbers.every((number) => number === numbers[0]);
}

/** Each row of the last axis through a function. */
function rowwise({ shape, data }: Nd, fn: (row: number[]) => readonly number[]): Nd {
  const columns = shape.at(-1)!;
  const out = new Float64Array(data.length);
  for (let at = 0; at < data.length; at += columns) out.set(fn([...data.subarray(at, at + columns)]), at);
  return { shape, data: out };
}
