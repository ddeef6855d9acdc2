import { noGrad, Tensor } from '../../autograd/index.ts';
import { withHooks } from '../../models/index.ts';
import type { Module, ModuleHooks } from '../../models/index.ts';

/**
 * The first module, in the order in which they end, whose output holds a number that is not finite while
 * `run` runs: 'encoder.layer.3.attention'. undefined where all are finite.
 */
export async function badModule(model: Module, run: () => unknown): Promise<string | undefined> {
  const outputs: { readonly name: string; readonly value: Tensor }[] = [];
  const hooks = model.namedModules().map(([name, module]): ModuleHooks => ({
    module,
    after: (_module, _args, output) => {
      for (const value of tensorsIn(output)) outputs.push({ name: name || module.constructor.name, value });
    },
  }));
  withHooks(hooks, () => noGrad(run));
  for (const { name, value } of outputs) {
    const data = await value.data();
    for (const x of data) if (!Number.isFinite(x)) return name;
  }
  return undefined;
}

/** The float tensors of a module's output: itself, or in the fields of an object. */
function tensorsIn(output: unknown): Tensor[] {
  const values = output instanceof Tensor ? [output] : Object.values(output ?? {}).flat();
  return values.filter((value): value is Tensor => value instanceof Tensor && value.dtype.startsWith('f'));
}
