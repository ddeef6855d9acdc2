import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Lets JavaScript collect what nobody refers to, and the finalizers run. */
export async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  await new Promise((done) => setTimeout(done, 50));
}
