import { addAssign, cast, compile, noGrad, randomState, scope, setRandomState, tensor } from '../autograd/index.ts';
import type { Compiled, Tensor } from '../autograd/index.ts';
import type { Module, Parameter } from '../models/index.ts';
import { runStage } from '../models/transformer/stage.ts';
import { Buckets } from './buckets.ts';
import type { ProcessGroup } from './process-group.ts';
import { partsOf } from './ring.ts';

/** Arrays of a part of a batch, by their names. */
type Arrays = Readonly<Record<string, Tensor>>;

export interface PipelineOptions {
  readonly group: ProcessGroup;
  readonly model: Module;
  /** The model's one stack of layers, such as `model.transformer.h`. */
  readonly layers: readonly Module[];
  /** The mean loss of a part of a batch, by the whole model: tensors in, a scalar out, nothing read. */
  readonly loss: (batch: Arrays) => Tensor;
}

export interface MicroBatch {
  readonly batch: Arrays;
  /** What its mean loss counts: its labels among those of the whole batch. */
  readonly weight: number;
}

/**
 * A model cut by its layers, a stage in each process (pipeline parallelism; GPipe, Huang et al. 2019): rank 0
 * has the embeddings and the first layers, the last rank the last ones and the loss. A batch goes through in
 * parts, so that stages work at the same time. Of a part each stage keeps what it was given, and computes its
 * layers once more for the backward pass.
 *
 * Gradients are those of one process, but for the order of sums. Every process has the whole model in memory;
 * gradients, the optimizer's state and activations are of its own layers, and of what lies outside of the
 * layers (embeddings, head), which all ranks update alike, tied or not.
 *
 * Errors: fewer layers than processes; layers that share weights; a model that runs another stack of layers.
 *
 * @example
 * const group = await ProcessGroup.connect({ rank: 0, worldSize: 1 });
 * const model = GPT2LMHeadModel.fromConfig({ vocabSize: 10, nEmbd: 8, nLayer: 2, nHead: 2 });
 * const loss = ({ ids }) => model.forward({ inputIds: ids, labels: ids, outputLogits: false }).loss;
 * const pipeline = new Pipeline({ group, model, layers: model.transformer.h, loss });
 * const optimizer = new AdamW(pipeline.parameters, { lr: 1e-3 });
 * const ids = tensor([[1, 2, 3], [4, 5, 6]], { dtype: 'i32' });
 * const halves = [ids.slice([0, 1]), ids.slice([1, 2])];
 * const parts = halves.map((half) => ({ batch: { ids: half }, weight: 0.5 }));
 * const value = await pipeline.step(parts); // the batch's loss; gradients are there
 * optimizer.step({ gradScale: await pipeline.clip(1) });
 * await pipeline.gather(); // before the model is saved or used
 */
export class Pipeline {
  /** Those that this process updates: of its own layers, then those outside of the layers. */
  readonly parameters: readonly Parameter[];
  readonly #options: PipelineOptions;
  readonly #start: number;
  readonly #end: number;
  readonly #own: readonly Parameter[];
  readonly #shared: readonly Parameter[];
  readonly #ownSums: Buckets;
  readonly #sharedSums: Buckets;
  /** Of gradients, for each parameter. */
  readonly #sums: readonly Tensor[];
  /** Numbers of the parameters that the loss depends on. */
  readonly #used = new Set<number>();
  readonly #forward: Compiled<[batch: Arrays, input: Tensor | undefined], Tensor>;
  readonly #backward: Compiled<
    [batch: Arrays, input: Tensor | undefined, gradient: Tensor],
    { readonly output: Tensor; readonly gradient: Tensor | undefined }
  >;

  constructor(options: PipelineOptions) {
    const { group, model, layers } = options;
    const { rank, worldSize } = group;
    if (layers.length < worldSize)
      throw new RangeError(`Pipeline: ${layers.length} layers cannot be ${worldSize} stages; start fewer processes`);
    this.#options = options;
    const [start, end] = partsOf(layers.length, worldSize)[rank]!;
    this.#start = start;
    this.#end = end;
    const ofLayers = layers.map((layer) => layer.parameters());
    const inLayers = new Set(ofLayers.flat());
    if (inLayers.size < ofLayers.flat().length)
      throw new Error('Pipeline: layers share weights, so that no process can have some of them; use data parallelism');
    const isTrained = (x: Parameter): boolean => x.requiresGrad;
    this.#own = ofLayers.slice(start, end).flat().filter(isTrained);
    this.#shared = model.parameters().filter((x) => isTrained(x) && !inLayers.has(x));
    this.parameters = [...this.#own, ...this.#shared];
    this.#ownSums = new Buckets(this.#own.map(({ shape }) => shape));
    this.#sharedSums = new Buckets(this.#shared.map(({ shape }) => shape));
    this.#sums = [...this.#ownSums.views, ...this.#sharedSums.views];
    const settings = { maxPrograms: 32, log: () => undefined };
    this.#forward = compile((batch, input) => noGrad(() => this.#run(batch, input)), {
      name: 'forward pass of a stage',
      ...settings,
    });
    this.#backward = compile(
      (batch, input, gradient) => {
        const leaf = input?.detach();
        if (leaf) leaf.requiresGrad = true;
        const output = this.#run(batch, leaf);
        output.backward(gradient);
        noGrad(() =>
          this.parameters.forEach((x, i) => {
            if (!x.grad) return;
            addAssign(this.#sums[i]!, x.grad);
            this.#used.add(i);
            x.grad = undefined;
          }),
        );
        return { output: output.detach(), gradient: leaf?.grad };
      },
      { name: 'backward pass of a stage', ...settings },
    );
  }

  /** A stage on a part of a batch, f32. */
  #run(batch: Arrays, input: Tensor | undefined): Tensor {
    const { layers, loss } = this.#options;
    const stage = { layers, start: this.#start, end: this.#end, input };
    return cast(
      runStage(stage, () => loss(batch)),
      'f32',
    );
  }

  /**
   * Forward and backward passes of a batch's parts. Leaves the gradients of their weighed sum in the
   * parameters' `grad`, and returns it, the batch's loss, in all processes.
   */
  async step(parts: readonly MicroBatch[]): Promise<number> {
    const { group } = this.#options;
    const { rank, worldSize } = group;
    const [isFirst, isLast] = [rank === 0, rank === worldSize - 1];
    this.#ownSums.clear();
    this.#sharedSums.clear();
    for (const x of this.parameters) x.grad = undefined;
    const given: (Tensor | undefined)[] = [];
    const random: ReturnType<typeof randomState>[] = [];
    let total = 0;
    const back = async (i: number): Promise<void> => {
      const { batch, weight } = parts[i]!;
      const input = given[i];
      const gradient = isLast ? undefined : await group.receive(rank + 1);
      const next = randomState();
      if (!isLast) setRandomState(random[i]!); // the same numbers as in the forward pass
      const { output, gradient: before } = this.#inScope(() =>
        this.#backward(batch, input, gradient ?? (weight as unknown as Tensor)),
      );
      if (!isLast) setRandomState(next);
      if (!isFirst) await group.send(before!, rank - 1);
      if (isLast) total += weight * (await output.item());
      for (const x of [input, gradient, output, before]) x?.storage.free();
    };
    for (const [i, { batch }] of parts.entries()) {
      given.push(isFirst ? undefined : await group.receive(rank - 1));
      random.push(randomState());
      // The last stage has what it needs to go back at once.
      if (isLast) await back(i);
      else {
        const { output } = this.#inScope(() => ({ output: this.#forward(batch, given[i]), gradient: undefined }));
        await group.send(output, rank + 1);
        output.storage.free();
      }
    }
    if (!isLast) for (const i of parts.keys()) await back(i);
    const count = this.#own.length;
    await group.allReduceAll(this.#sharedSums.tensors);
    const used = await group.allGatherObject([...this.#used].filter((i) => i >= count).map((i) => i - count));
    for (const i of used.flat()) this.#used.add(count + i);
    this.parameters.forEach((x, i) => (x.grad = this.#used.has(i) ? this.#sums[i]! : undefined));
    return group.broadcastObject(total, worldSize - 1);
  }

  #inScope<T extends { readonly output: Tensor; readonly gradient: Tensor | undefined }>(run: () => T): T {
    using _ = scope();
    const made = run();
    made.output.keep();
    made.gradient?.keep();
    return made;
  }

  /** The norm of the gradients of the whole model, the same in all processes. */
  async gradNorm(): Promise<number> {
    const { group } = this.#options;
    const squares = async (from: number, to: number): Promise<number> => {
      const all = await Promise.all(this.#sums.slice(from, to).map((x) => noGrad(() => x.mul(x).sum()).item()));
      return all.reduce((a, b) => a + b, 0);
    };
    const own = await group.allGatherObject(await squares(0, this.#own.length));
    const shared = await group.broadcastObject(await squares(this.#own.length, this.#sums.length));
    return Math.sqrt(own.reduce((a, b) => a + b, shared));
  }

  /** The factor for `optimizer.step({ gradScale })` so that the gradients' norm does not exceed `maxNorm`. */
  async clip(maxNorm: number): Promise<Tensor> {
    return tensor(Math.min(1, maxNorm / ((await this.gradNorm()) + 1e-6)));
  }

  /** Gives every process the weights of all layers, from those that have updated them. */
  async gather(): Promise<void> {
    const { group, layers } = this.#options;
    for (const [rank, [start, end]] of partsOf(layers.length, group.worldSize).entries())
      for (const x of layers.slice(start, end).flatMap((layer) => layer.parameters()))
        if (x.dtype === 'f32' && x.size > 0) await group.broadcast(x, rank);
  }
}
