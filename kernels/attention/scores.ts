import { philoxWgsl } from '../philox.ts';
import { maskedScore } from './params.ts';
import type { AttentionParams } from './params.ts';
import { each } from './rows.ts';
import type { RowCode } from './rows.ts';

/** Whose rows a workgroup owns. */
export type Side = 'queries' | 'keys';

const block = ['at', 'at + 1u', 'at + 2u', 'at + 3u'];

/** Below every score: what a causal mask or the end of the tokens cuts off weighs exactly nothing. */
const cutOff = '-1e30';

/**
 * WGSL of what happens between the two products to the scores sR of a block's four tokens (`at` the first),
 * as vec4s, or of one `token`, in place e of the block.
 */
export class ScoreCode {
  private readonly params: AttentionParams;
  private readonly code: RowCode;
  private readonly side: Side;
  /** Tokens whose scores sR holds. */
  private readonly tokens: readonly string[];

  constructor(params: AttentionParams, code: RowCode, side: Side, span: 1 | 4) {
    this.params = params;
    this.code = code;
    this.side = side;
    this.tokens = span === 4 ? block : ['token'];
  }

  /** Functions that `keep` calls. */
  static declarations({ dropout }: AttentionParams): string {
    if (dropout === 0) return '';
    return `${philoxWgsl}
fn keepFour(block: u32) -> vec4<f32> {
  let u = unit(philox(vec4<u32>(block, 0u, p.low, p.high), vec2<u32>(p.key0, p.key1)));
  return select(vec4<f32>(), vec4<f32>(p.kept), u >= vec4<f32>(p.drop));
}
fn keepOne(i: u32) -> f32 { return keepFour(i / 4u)[i % 4u]; }`;
  }

  /** Before the walk: where the head's mask begins. */
  static prepare({ mask }: AttentionParams): string {
    return mask ? 'let maskBase = p.mo + i32(b) * p.mb + i32(h) * p.mh;' : '';
  }

  /** Query and key of row r and a token. */
  private pair(r: number, token: string): readonly [query: string, key: string] {
    return this.side === 'queries' ? [`own${r}`, token] : [token, `own${r}`];
  }

  /** The values, one for each token, as one of the type of the scores. */
  private of(type: 'f32' | 'u32', values: readonly string[]): string {
    return `${this.tokens.length === 4 ? `vec4<${type}>` : type}(${values.join(', ')})`;
  }

  /** Adds the mask and cuts off; allowedR says where a bool mask lets scores through. */
  apply(): string {
    const { mask, causal } = this.params;
    const tokens = `let tokens = ${this.of('u32', this.tokens)};`;
    const seen = (r: number): string => {
      if (this.side === 'queries') return `tokens < ${this.of('u32', [causal ? `min(p.tk, own${r} + 1u)` : 'p.tk'])}`;
      return `${causal ? `(tokens >= ${this.of('u32', [`own${r}`])}) & ` : ''}(tokens < ${this.of('u32', ['p.tq'])})`;
    };
    const cut = (r: number): string => `s${r} = select(${this.of('f32', [cutOff])}, s${r}, ${seen(r)});`;
    if (!mask) return `${tokens}\n${this.code.forRows(cut)}`;
    const element = (r: number) => (token: string) => {
      const [i, j] = this.pair(r, token);
      // A stride known to be 0 keeps the index uniform over the workgroup.
      const alongQueries = mask.strides[2] === 0 ? '' : ` + i32(min(${i}, p.tq - 1u)) * p.mi`;
      const alongKeys = mask.strides[3] === 0 ? '' : ` + i32(min(${j}, p.tk - 1u)) * p.mj`;
      return `mask[maskBase${alongQueries}${alongKeys}]`;
    };
    const masked = (r: number): string => {
      const values = this.tokens.map(element(r));
      if (mask.dtype === 'bool') {
        return `let allowed${r} = ${this.of('u32', values)} != ${this.of('u32', ['0u'])};
s${r} = select(${this.of('f32', [`${maskedScore}`])}, s${r}, allowed${r});`;
      }
      const numbers = values.map((value) => `f32(${value})`);
      // -infinity throughout a row would make it NaN.
      return `s${r} += max(${this.of('f32', numbers)}, ${this.of('f32', ['-1e29'])});`;
    };
    return `${tokens}\n${this.code.forRows((r) => `${masked(r)}\n${cut(r)}`)}`;
  }

  /**
   * keptR of the block, vec4s: 0 or 1 / (1 - p), by the numbers that dropout of the weights [B, H, Tq, Tk]
   * would draw.
   */
  keep(): string {
    const { dropout, keys } = this.params;
    if (dropout === 0) return '';
    if (keys % 4 === 0 && this.side === 'queries') {
      return this.code.forRows((r) => `let kept${r} = keepFour((head * p.tq + own${r}) * (p.tk / 4u) + at / 4u);`);
    }
    if (keys % 4 === 0 && this.code.walk.rows === 2) {
      // A thread's two neighbouring keys lie in the same block of four numbers.
      const four = (e: number): string =>
        `let four${e} = keepFour((head * p.tq + at + ${e}u) * (p.tk / 4u) + row0 / 4u);`;
      const kept = (r: number): string =>
        `let kept${r} = vec4<f32>(${[0, 1, 2, 3].map((e) => `four${e}[row0 % 4u + ${r}u]`).join(', ')});`;
      return `${each(4, four)}\n${this.code.forRows(kept)}`;
    }
    const one = (r: number) => (e: number) => {
      const [i, j] = this.pair(r, block[e]!);
      return `keepOne((head * p.tq + ${i}) * p.tk + ${j})`;
    };
    return this.code.forRows((r) => `let kept${r} = vec4<f32>(${[0, 1, 2, 3].map(one(r)).join(', ')});`);
  }

  /** A weight with dropout. */
  dropped(r: number, weight: string): string {
    if (this.params.dropout === 0) return weight;
    return `${weight} * kept${r}${this.tokens.length === 4 ? '' : '[e]'}`;
  }

  /** A score's gradient: none where a bool mask put another in its place. */
  through(r: number, gradient: string): string {
    return this.params.mask?.dtype === 'bool'
      ? `select(${this.of('f32', ['0.0'])}, ${gradient}, allowed${r})`
      : gradient;
  }
}
