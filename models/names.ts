import { brief, showText } from '../common/printable.ts';

export { showText };

/**
 * The state-dict name of a field: lower-camel names become snake_case (`tokenTypeEmbeddings` ->
 * `token_type_embeddings`), names that begin with a capital stay (`LayerNorm`), as Transformers spells them.
 */
export function snakeCase(name: string): string {
  if (/^[A-Z]/.test(name)) return name;
  return name.replace(
    /([a-z0-9])([A-Z]+)/g,
    (_, before: string, capitals: string) => `${before}_${capitals.toLowerCase()}`,
  );
}

/** The inverse for names of words in lower case: `num_hidden_layers` -> `numHiddenLayers`. */
export function camelCase(name: string): string {
  return name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** A value of a file or a user in a message, as JSON: `"x"`, `[1, 2]`, `missing`. */
export function showValue(value: unknown, most = 60): string {
  return value === undefined ? 'missing' : brief(value, most);
}

/** The first few names and how many there are besides: error messages stay one line. */
export function listNames(names: readonly string[], most = 8): string {
  const shown = names
    .slice(0, most)
    .map((name) => showText(name))
    .join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

export function showShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** A module, as far as its name is concerned. */
interface Place {
  namedModules(): readonly (readonly [string, unknown])[];
}

const located = new WeakSet<Error>();

/**
 * Adds to an error's message where in the model it was thrown, `(in BertModel: encoder.layer.0.attention)`;
 * once, by the innermost module. `running` lists the modules whose forward is running, outermost first;
 * `hook` names the hook of the innermost that threw it, if one did.
 */
export function locate(error: unknown, running: readonly Place[], hook = ''): unknown {
  if (!(error instanceof Error) || located.has(error)) return error;
  located.add(error);
  const before = error.message;
  error.message = `${before} (in ${describePath(running)}${hook && `, ${hook}`})`;
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
