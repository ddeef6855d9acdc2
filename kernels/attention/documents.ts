import type { Dispatch } from '../../gpu/dispatch.ts';
import { kernel, read, u32, write } from '../kernel.ts';
import type { Operand } from '../layout.ts';

export interface DocumentOperands {
  /** i32 [B, T], row-major: neighbours with one number are of one document. */
  readonly ids: Operand;
  /** i32 [B, T, 2], row-major: the document of each token is that of tokens from..to - 1 of its row. */
  readonly ranges: Operand;
}

/**
 * Finds where each token's document begins and ends, one thread a token. It looks at all tokens of the
 * document: as many numbers as attention computes scores, for one number of one head.
 */
export function documentRanges({ ids, ranges }: DocumentOperands): Dispatch {
  const [batch, tokens] = ids.shape as [number, number];
  const count = batch * tokens;
  return kernel({
    name: 'documentRanges',
    bindings: [read('ids', 'i32'), write('ranges', 'vec2<i32>')],
    params: { n: u32(count), tokens: u32(tokens), io: u32(ids.offset), ro: u32(ranges.offset / 2) },
    workgroup: 64,
    groups: Math.ceil(count / 64),
    cost: { flops: count * tokens, bytes: 12 * count },
    body: `
if (id >= p.n) { return; }
let row = id / p.tokens * p.tokens;
let own = ids[p.io + id];
var begin = id;
while (begin > row && ids[p.io + begin - 1u] == own) { begin--; }
var end = id + 1u;
while (end < row + p.tokens && ids[p.io + end] == own) { end++; }
ranges[p.ro + id] = vec2<i32>(i32(begin - row), i32(end - row));`,
  });
}
