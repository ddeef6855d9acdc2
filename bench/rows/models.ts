import { constant, integers, noise } from './data.ts';
import type { HostArray, HostArrays } from './data.ts';
import type { Ops } from './ops.ts';
import type { Named, Row } from './row.ts';

/** Parameters have the names and shapes of our own modules' state dicts, which are PyTorch's. */
const deviation = 0.05;

/** A weight [out, in] and a bias [out] of a linear layer. */
function dense(name: string, into: number, out: number): HostArrays {
  return {
    [`${name}.weight`]: noise(`${name}.weight`, [out, into], deviation),
    [`${name}.bias`]: noise(`${name}.bias`, [out], deviation),
  };
}

function norm(name: string, width: number): HostArrays {
  return { [`${name}.weight`]: constant([width], 1), [`${name}.bias`]: constant([width], 0) };
}

const table = (name: string, count: number, width: number): HostArrays => ({
  [`${name}.weight`]: noise(name, [count, width], deviation),
});

const count = (arrays: HostArrays): number =>
  Object.values(arrays).reduce((sum, { data }: HostArray) => sum + data.length, 0);

/** A layer's functions on parameters by name. */
function layers<T>(ops: Ops<T>, w: Named<T>) {
  return {
    linear: (name: string, x: T): T => ops.linear(x, w[`${name}.weight`]!, w[`${name}.bias`]!),
    norm: (name: string, x: T, eps: number): T => ops.layerNorm(x, w[`${name}.weight`]!, w[`${name}.bias`]!, eps),
    embed: (name: string, ids: T | number): T => ops.embedding(w[`${name}.weight`]!, ids),
  };
}

export const mlpSizes = { batch: 64, sizes: [784, 512, 10] } as const;

function mlp(): Row {
  const { batch, sizes } = mlpSizes;
  const [into, hidden, classes] = sizes;
  const weights = (): HostArrays => ({ ...dense('0', into, hidden), ...dense('2', hidden, classes) });
  const parameters = into * hidden + hidden * classes;
  return {
    name: 'MLP training step',
    shape: `${sizes.join('-')}, batch ${batch}, SGD`,
    dtype: 'f32',
    flops: 6 * batch * parameters,
    bytes: 4 * 4 * parameters, // weights read twice, gradients written, weights written
    inputs: () => ({ x: noise('x', [batch, into]), y: integers('y', [batch], classes) }),
    weights,
    program: (ops, { x, y }, w) => {
      const { linear } = layers(ops, w);
      return ops.crossEntropy(linear('2', ops.relu(linear('0', x!))), y!);
    },
    size: 1,
    training: { optimizer: 'sgd', lr: 0.1 },
    tolerance: 1e-3,
    model: 'mlp',
  };
}

export const gptSizes = { layers: 2, width: 128, heads: 4, tokens: 64, batch: 4, vocabulary: 256 } as const;

function gptWeights(): HostArrays {
  const { layers: depth, width, tokens, vocabulary } = gptSizes;
  const all: HostArrays[] = [table('token', vocabulary, width), table('position', tokens, width)];
  for (let i = 0; i < depth; i++) {
    const at = `encoder.layers.${i}`;
    const packed = dense('in_proj', width, 3 * width);
    all.push(
      {
        [`${at}.self_attn.in_proj_weight`]: packed['in_proj.weight']!,
        [`${at}.self_attn.in_proj_bias`]: packed['in_proj.bias']!,
      },
      dense(`${at}.self_attn.out_proj`, width, width),
      dense(`${at}.linear1`, width, 4 * width),
      dense(`${at}.linear2`, 4 * width, width),
      norm(`${at}.norm1`, width),
      norm(`${at}.norm2`, width),
    );
  }
  return Object.assign({}, ...all, norm('encoder.norm', width)) as HostArrays;
}

/**
 * Pre-LN, GELU with tanh, the output tied to the token embedding: GPT-2's arithmetic (Radford et al. 2019),
 * without dropout.
 */
function gpt(): Row {
  const { layers: depth, width, heads, tokens, batch, vocabulary } = gptSizes;
  const attention = 2 * 2 * depth * tokens * tokens * width * batch;
  const matrices = 12 * depth * width * width + vocabulary * width;
  return {
    name: 'GPT training step',
    shape: `${depth} layers, ${width} wide, ${heads} heads, ${batch}x${tokens} of ${vocabulary}, Adam`,
    dtype: 'f32',
    flops: 3 * (2 * batch * tokens * matrices + attention),
    bytes: 4 * 9 * count(gptWeights()), // forward, backward, gradients, Adam's reads and writes
    inputs: () => ({
      ids: integers('ids', [batch, tokens], vocabulary),
      labels: integers('labels', [batch, tokens], vocabulary),
    }),
    weights: gptWeights,
    program: (ops, { ids, labels }, w) => {
      const { linear, norm: normalise, embed } = layers(ops, w);
      let x = ops.add(embed('token', ids!), embed('position', tokens)); // (B, T, D)
      for (let i = 0; i < depth; i++) {
        const at = `encoder.layers.${i}`;
        const attn = `${at}.self_attn`;
        const qkv = ops.linear(
          normalise(`${at}.norm1`, x, 1e-5),
          w[`${attn}.in_proj_weight`]!,
          w[`${attn}.in_proj_bias`]!,
        );
        const part = (k: number) => ops.slice(qkv, k * width, (k + 1) * width);
        x = ops.add(x, linear(`${attn}.out_proj`, ops.attention(part(0), part(1), part(2), heads, true)));
        const hidden = ops.gelu(linear(`${at}.linear1`, normalise(`${at}.norm2`, x, 1e-5)), 'tanh');
        x = ops.add(x, linear(`${at}.linear2`, hidden));
      }
      const logits = ops.linear(normalise('encoder.norm', x, 1e-5), w['token.weight']!); // (B, T, V)
      return ops.crossEntropy(logits, labels!);
    },
    size: 1,
    training: { optimizer: 'adam', lr: 1e-3 },
    tolerance: 1e-3,
    control: true,
    model: 'gpt',
  };
}

export const bertSizes = {
  layers: 6,
  width: 384,
  heads: 12,
  hidden: 1536,
  batch: 8,
  tokens: 128,
  vocabulary: 1024, // MiniLM's table has 30,522 rows; a gather's cost does not depend on it, a start's does
  eps: 1e-12,
} as const;

function bertWeights(): HostArrays {
  const { layers: depth, width, hidden, tokens, vocabulary } = bertSizes;
  const all: HostArrays[] = [
    table('embeddings.word_embeddings', vocabulary, width),
    table('embeddings.position_embeddings', tokens, width),
    table('embeddings.token_type_embeddings', 2, width),
    norm('embeddings.LayerNorm', width),
  ];
  for (let i = 0; i < depth; i++) {
    const at = `encoder.layer.${i}`;
    for (const part of ['self.query', 'self.key', 'self.value', 'output.dense'])
      all.push(dense(`${at}.attention.${part}`, width, width));
    all.push(
      norm(`${at}.attention.output.LayerNorm`, width),
      dense(`${at}.intermediate.dense`, width, hidden),
      dense(`${at}.output.dense`, hidden, width),
      norm(`${at}.output.LayerNorm`, width),
    );
  }
  return Object.assign({}, ...all) as HostArrays;
}

/** all-MiniLM-L6-v2's shape: BERT (Devlin et al. 2019) up to its last hidden state (B, T, D). */
function bert(): Row {
  const { layers: depth, width, heads, hidden, batch, tokens, vocabulary, eps } = bertSizes;
  const matrices = depth * (4 * width * width + 2 * width * hidden);
  return {
    name: 'MiniLM forward',
    shape: `${depth} layers, ${width} wide, ${heads} heads, ${batch}x${tokens}`,
    dtype: 'f32',
    flops: 2 * batch * tokens * matrices + 4 * depth * batch * tokens * tokens * width,
    bytes: 4 * (matrices + 10 * depth * batch * tokens * width),
    inputs: () => ({ ids: integers('ids', [batch, tokens], vocabulary) }),
    weights: bertWeights,
    program: (ops, { ids }, w) => {
      const { linear, norm: normalise, embed } = layers(ops, w);
      const types = embed('embeddings.token_type_embeddings', 1); // (1, D): all tokens are of type 0
      const sum = ops.add(
        ops.add(embed('embeddings.word_embeddings', ids!), types),
        embed('embeddings.position_embeddings', tokens),
      );
      let x = normalise('embeddings.LayerNorm', sum, eps); // (B, T, D)
      for (let i = 0; i < depth; i++) {
        const at = `encoder.layer.${i}`;
        const own = (part: string) => linear(`${at}.attention.self.${part}`, x);
        const attended = ops.attention(own('query'), own('key'), own('value'), heads, false);
        const y = normalise(
          `${at}.attention.output.LayerNorm`,
          ops.add(linear(`${at}.attention.output.dense`, attended), x),
          eps,
        );
        const inner = ops.gelu(linear(`${at}.intermediate.dense`, y), 'none');
        x = normalise(`${at}.output.LayerNorm`, ops.add(linear(`${at}.output.dense`, inner), y), eps);
      }
      return x;
    },
    tolerance: 1e-3,
    size: batch * tokens * width,
    model: 'bert',
  };
}

export const modelRows: readonly Row[] = [mlp(), gpt(), bert()];
