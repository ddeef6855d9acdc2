/** What is needed to name a module's place. */
interface Place {
  namedModules(): readonly (readonly [string, unknown])[];
}

const located = new WeakSet<Error>();

/**
 * Adds to an error's message where in the model it was thrown, `(in BertModel: encoder.layer.0.attention)`;
 * once, by the innermost module. `running` lists the modules whose forward is running, outermost first.
 */
export function locate(error: unknown, running: readonly Place[]): unknown {
  if (!(error instanceof Error) || located.has(error)) return error;
  located.add(error);
  const before = error.message;
  error.message = `${before} (in ${describePath(running)})`;
  // Node prints the stack of an uncaught error, and it holds the message as it was.
  if (error.stack !== undefined) error.stack = error.stack.replace(before, () => error.message);
  return error;
}

/** `BertModel: encoder.layer.0.attention`; empty where no module runs. */
export function describePath(running: readonly Place[]): string {
  let text = running[0]?.constructor.name ?? '';
  let joint = ': ';
  for (const [i, module] of running.slice(1).entries()) {
    const name = running[i]!.namedModules().find(([, below]) => below === module)?.[0];
    // A module that another one calls without holding it starts a path of its own.
    text += name === undefined ? ` > ${module.constructor.name}` : name === '' ? '' : joint + name;
    joint = name === undefined ? ': ' : name === '' ? joint : '.';
  }
  return text;
}
