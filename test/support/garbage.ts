import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { memory, synchronize } from '../../autograd/index.ts';

/** Lets JavaScript collect what nobody refers to, and the finalizers run. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  await new Promise((done) => setTimeout(done, 50));
}

/** Bytes of tensors that somebody still refers to: garbage is collected until no more is found. */
export async function heldBytes(): Promise<number> {
  let [held, before] = [memory().live, Infinity];
  for (let i = 0; i < 10 && held !== before; i++) {
    before = held;
    await synchronize();
    await collectGarbage();
    held = memory().live;
  }
  return held;
}
