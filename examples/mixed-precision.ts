/**
 * Half the memory, and less: mixed precision (products in f16, weights and sums in f32; Micikevicius et al.
 * 2018) and checkpointing (activations computed again in backward; Chen et al. 2016), on one training.
 *
 *   npx tsx examples/mixed-precision.ts [layers] [steps]      default 6 layers, 8 steps
 */
import { autocast, checkpoint, compile, manualSeed, mse, randn, ready, statistics } from '../autograd/index.ts';
import type { Tensor } from '../autograd/index.ts';
import { Linear, Module } from '../models/index.ts';
import { AdamW, GradScaler } from '../train/optim/index.ts';

const [layers, steps] = [Number(process.argv[2] ?? 6), Number(process.argv[3] ?? 8)];
const [rows, dim] = [256, 64];

class Block extends Module {
  readonly up = new Linear(dim, 4 * dim);
  readonly down = new Linear(4 * dim, dim);

  /** (N, D) -> (N, D). Backward needs what lies in between, (N, 4 D), kept or computed again. */
  override forward(x: Tensor): Tensor {
    return x.add(this.down.forward(this.up.forward(x).tanh()));
  }
}

type Forward = (blocks: readonly Block[], x: Tensor) => Tensor;
const plain: Forward = (blocks, x) => blocks.reduce((h, block) => block.forward(h), x);
const recomputed: Forward = (blocks, x) => blocks.reduce((h, block) => checkpoint(() => block.forward(h)), x);

/** Trains to copy one tensor from another: losses of the first and last step, memory beside the weights. */
async function run(name: string, forward: Forward, half: boolean): Promise<void> {
  manualSeed(0);
  const blocks = Array.from({ length: layers }, () => new Block());
  const parameters = blocks.flatMap((block) => block.parameters());
  const optimizer = new AdamW(parameters, { lr: 1e-3, halfCopies: half });
  const scaler = half ? new GradScaler() : undefined;
  const [x, y] = [randn(rows, dim), randn(rows, dim)];
  const step = compile(() => {
    const loss = half ? autocast(() => mse(forward(blocks, x), y)) : mse(forward(blocks, x), y);
    (scaler ? scaler.scale(loss) : loss).backward(); // f16 has no room for small gradients: they are lifted
    optimizer.step({ scaler });
    optimizer.zeroGrad();
    return loss.detach();
  });
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) losses.push(await step().item());
  const planned = (statistics(step.programs[0]!).planned / 2 ** 20).toFixed(1);
  console.log(`${name.padEnd(20)} loss ${losses[0]!.toFixed(3)} -> ${losses.at(-1)!.toFixed(3)}  memory ${planned} MB`);
}

await run('f32', plain, false);
await run('f32, checkpointed', recomputed, false);
if ((await ready()).target.f16) {
  await run('mixed', plain, true);
  await run('mixed, checkpointed', recomputed, true);
} else console.log('mixed: this device has no f16');
