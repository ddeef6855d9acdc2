// What attention alone says of the tokens: the same for every label.
import { attentionOf } from './attention-weights.ts';
import type { AttentionWeights } from './attention-weights.ts';
import { maximumFlow } from './maximum-flow.ts';
import type { Attribution, AttributionMethod } from './method.ts';
import type { Subject } from './subject.ts';

/**
 * How information moves in each layer, [tokens][tokens]: half the mean of the heads and half the residual
 * connection (Abnar and Zuidema 2020, section 3).
 */
function mixedAttention({ layers, heads, tokens, weights }: AttentionWeights): Float64Array[] {
  return Array.from({ length: layers }, (_, layer) => {
    const mixed = new Float64Array(tokens * tokens);
    for (let i = 0; i < mixed.length; i++) {
      let sum = 0;
      for (let head = 0; head < heads; head++) sum += weights[(layer * heads + head) * mixed.length + i]!;
      mixed[i] = 0.5 * (sum / heads) + (i % (tokens + 1) === 0 ? 0.5 : 0);
    }
    return mixed;
  });
}

/**
 * How much of each token reaches token `place` behind the last layer: the product of the layers' attention.
 */
function attentionRollout(attention: AttentionWeights, place: number): Float64Array {
  const { tokens } = attention;
  let reached = new Float64Array(tokens);
  reached[place] = 1;
  for (const mixed of mixedAttention(attention).reverse()) {
    const before = new Float64Array(tokens);
    for (let from = 0; from < tokens; from++)
      for (let to = 0; to < tokens; to++) before[to]! += reached[from]! * mixed[from * tokens + to]!;
    reached = before;
  }
  return reached;
}

/** Most edges of the layers' graph that flows are computed in. */
const mostEdges = 500_000;

/**
 * The largest flow from token `place` behind the last layer to each of `wanted` before the first, where a
 * connection carries at most its attention.
 */
function attentionFlow(attention: AttentionWeights, place: number, wanted: readonly number[]): Float64Array {
  const { layers, tokens } = attention;
  if (layers * tokens * tokens > mostEdges)
    throw new Error(
      `explain: attention-flow over ${layers} layers of ${tokens} tokens would take too long; shorten the text to ` +
        `${Math.floor(Math.sqrt(mostEdges / layers))} tokens or use attention-rollout`,
    );
  const mixed = mixedAttention(attention);
  const edges = mixed.flatMap((capacities, layer) =>
    Array.from(capacities, (capacity, i) => ({
      from: (layer + 1) * tokens + Math.floor(i / tokens),
      to: layer * tokens + (i % tokens),
      capacity,
    })).filter(({ capacity }) => capacity > 0),
  );
  return maximumFlow((layers + 1) * tokens, edges, layers * tokens + place, wanted);
}

/** The token whose vector decides: that of the output's place, or of a text the first. */
const decidingPlace = ({ target: { kind, place, label } }: Subject): number =>
  kind === 'start' || kind === 'end' ? label : place;

const byAttention =
  (share: (attention: AttentionWeights, place: number, wanted: readonly number[]) => ArrayLike<number>) =>
  async (subject: Subject): Promise<Attribution> => {
    const attention = await attentionOf(subject.model, subject.batch(), subject.tokens.length);
    return { scores: share(attention, decidingPlace(subject), subject.features) };
  };

export const attentionMethods = {
  'attention-rollout': {
    about: 'attention multiplied through the layers, the same for every label (Abnar and Zuidema 2020)',
    evaluations: () => 0,
    attribute: byAttention((attention, place, wanted) => {
      const reached = attentionRollout(attention, place);
      return wanted.map((token) => reached[token]!);
    }),
  },
  'attention-flow': {
    about: 'the largest flow through the layers, the same for every label (Abnar and Zuidema 2020)',
    evaluations: () => 0,
    attribute: byAttention(attentionFlow),
  },
} as const satisfies Record<string, AttributionMethod>;
