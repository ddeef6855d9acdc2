import type { HostArray, HostArrays } from '../rows/data.ts';
import type { Ops } from '../rows/ops.ts';
import type { Row } from '../rows/row.ts';
import { loadPeer } from './adapter.ts';

/** Declares the used part of onnx-proto: messages of onnx.proto3 as plain objects, and their encoder. */
interface Proto {
  onnx: { ModelProto: { encode(model: object): { finish(): Uint8Array } } };
}

/** A value of the graph being written. */
interface Value {
  readonly name: string;
  readonly shape: readonly number[];
  /** The contents of an initializer. */
  readonly host?: HostArray;
}

const types = { float: 1, int32: 6, int64: 7 } as const;

/** Attributes of a node, by onnx.proto3's AttributeProto. */
const float = (name: string, f: number): object => ({ name, type: 1, f });
const text = (name: string, s: string): object => ({ name, type: 3, s: new TextEncoder().encode(s) });
const ints = (name: string, list: readonly number[]): object => ({ name, type: 7, ints: list });

/** Writes a row's program as an ONNX graph (opset 20), parameters as initializers. */
class Graph implements Ops<Value> {
  readonly nodes: object[] = [];
  readonly initializers: object[] = [];
  private count = 0;

  /** Appends a node with one output. */
  node(opType: string, inputs: readonly Value[], shape: readonly number[], attribute: readonly object[] = []): Value {
    const output = { name: `v${this.count++}`, shape };
    this.nodes.push({
      opType,
      name: `${opType}_${this.count}`,
      input: inputs.map(({ name }) => name),
      output: [output.name],
      attribute,
    });
    return output;
  }

  constant(host: HostArray | { shape: readonly number[]; data: BigInt64Array }, name = `c${this.count++}`): Value {
    const { shape, data } = host;
    const dataType =
      data instanceof BigInt64Array ? types.int64 : data instanceof Int32Array ? types.int32 : types.float;
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.initializers.push({ name, dims: [...shape], dataType, rawData });
    return { name, shape, host: data instanceof BigInt64Array ? undefined : { shape, data } };
  }

  private whole(list: readonly number[]): Value {
    return this.constant({ shape: [list.length], data: BigInt64Array.from(list, BigInt) });
  }

  private swapped(x: Value): Value {
    const [rows, cols] = x.shape.slice(-2) as [number, number];
    const shape = [...x.shape.slice(0, -2), cols, rows];
    if (!x.host || x.shape.length !== 2) {
      const axes = shape.map((_, i) => i);
      const [a, b] = [axes.pop()!, axes.pop()!];
      return this.node('Transpose', [x], shape, [ints('perm', [...axes, a, b])]);
    }
    const data = new Float32Array(rows * cols);
    for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) data[j * rows + i] = x.host.data[i * cols + j]!;
    return this.constant({ shape, data });
  }

  matmul = (a: Value, b: Value, transposeB: boolean): Value => {
    const right = transposeB ? this.swapped(b) : b;
    return this.node('MatMul', [a, right], [...a.shape.slice(0, -1), right.shape.at(-1)!]);
  };
  linear = (x: Value, weight: Value, bias?: Value): Value => {
    const y = this.matmul(x, weight, true);
    return bias ? this.add(y, bias) : y;
  };
  add = (a: Value, b: Value): Value => this.node('Add', [a, b], a.shape.length >= b.shape.length ? a.shape : b.shape);
  relu = (x: Value): Value => this.node('Relu', [x], x.shape);
  gelu = (x: Value, approximate: string): Value => this.node('Gelu', [x], x.shape, [text('approximate', approximate)]);
  softmax = (x: Value): Value => this.node('Softmax', [x], x.shape);
  layerNorm = (x: Value, weight: Value, bias: Value, epsilon: number): Value =>
    this.node('LayerNormalization', [x, weight, bias], x.shape, [float('epsilon', epsilon)]);
  slice = (x: Value, from: number, to: number): Value =>
    this.node(
      'Slice',
      [x, this.whole([from]), this.whole([to]), this.whole([-1])],
      [...x.shape.slice(0, -1), to - from],
    );
  /**
   * Of plain nodes: ONNX Runtime's own MultiheadAttention was off by 0.16 of 1 on WebGPU with subgroups of 8.
   */
  attention = (q: Value, k: Value, v: Value, heads: number): Value => {
    const [batch, tokens, width] = q.shape as [number, number, number];
    const split = (x: Value, perm: readonly number[]): Value => {
      const shape = [batch, tokens, heads, width / heads];
      const apart = this.node('Reshape', [x, this.whole(shape)], shape);
      return this.node(
        'Transpose',
        [apart],
        perm.map((axis) => shape[axis]!),
        [ints('perm', perm)],
      );
    };
    const keys = split(k, [0, 2, 3, 1]); // (B, H, D/H, T)
    const scale = this.constant({ shape: [], data: Float32Array.of(1 / Math.sqrt(width / heads)) });
    const scores = this.node(
      'Mul',
      [this.matmul(split(q, [0, 2, 1, 3]), keys, false), scale],
      [batch, heads, tokens, tokens],
    );
    const y = this.matmul(this.softmax(scores), split(v, [0, 2, 1, 3]), false); // (B, H, T, D/H)
    const joined = this.node('Transpose', [y], [batch, tokens, heads, width / heads], [ints('perm', [0, 2, 1, 3])]);
    return this.node('Reshape', [joined, this.whole(q.shape)], q.shape);
  };
  embedding = (table: Value, ids: Value | number): Value => {
    if (typeof ids === 'number') {
      const [, width] = table.shape as [number, number];
      return this.constant({ shape: [ids, width], data: table.host!.data.slice(0, ids * width) });
    }
    return this.node('Gather', [table, ids], [...ids.shape, ...table.shape.slice(1)]);
  };
  crossEntropy = (): Value => {
    throw new Error('ONNX Runtime does not train here');
  };
}

/** The row as an ONNX file, and the name and shape of its output. */
export async function onnxModel(row: Row): Promise<{ bytes: Uint8Array; output: string; shape: readonly number[] }> {
  if (row.training) throw new Error('ONNX Runtime does not train here');
  const { onnx } = await loadPeer<Proto>('onnx-proto');
  const graph = new Graph();
  const inputs = row.inputs();
  const values = (arrays: HostArrays, make: (name: string, x: HostArray) => Value): Record<string, Value> =>
    Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, make(name, x)]));
  const fed = values(inputs, (name, { shape }) => ({ name, shape }));
  const weights = values(row.weights(), (name, x) => graph.constant(x, name));
  const { name: output, shape } = row.program(graph, fed, weights);
  const info = (name: string, dims: readonly number[], elemType: number): object => ({
    name,
    type: { tensorType: { elemType, shape: { dim: dims.map((dimValue) => ({ dimValue })) } } },
  });
  const used = new Set((graph.nodes as { input: string[] }[]).flatMap(({ input }) => input));
  const model = {
    irVersion: 9,
    opsetImport: [{ domain: '', version: 20 }],
    graph: {
      name: row.name,
      node: graph.nodes,
      initializer: (graph.initializers as { name: string }[]).filter(({ name }) => used.has(name)),
      input: Object.entries(inputs).map(([name, x]) =>
        info(name, x.shape, x.data instanceof Int32Array ? types.int32 : types.float),
      ),
      output: [info(output, shape, types.float)],
    },
  };
  return { bytes: onnx.ModelProto.encode(model).finish(), output, shape };
}
