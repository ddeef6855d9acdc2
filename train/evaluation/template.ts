import { isJsonObject } from '../../common/json-file.ts';
import { brief, firstLine } from '../../common/printable.ts';
import { environmentOf, parseTemplate, PythonInterpreter } from '../../models/generation/jinja.ts';
import type { Environment, Program, Statement, Value } from '../../models/generation/jinja.ts';

/** A row of a task's data. */
export interface Row {
  readonly cells: Readonly<Record<string, unknown>>;
  /** File and line, for errors. */
  readonly where: string;
}

/** What may be undefined: `x is defined`, `x | default("")`. */
function takesUndefined(statement: Statement): boolean {
  const { type, filter } = statement as { type: string; filter?: { value?: unknown; callee?: { value?: unknown } } };
  return type === 'TestExpression' || (type === 'FilterExpression' && nameOf(filter) === 'default');
}

const nameOf = (filter?: { value?: unknown; callee?: { value?: unknown } }): unknown =>
  filter?.value ?? filter?.callee?.value;

/** Names what is looked up: `choices.text`. */
function show(statement: unknown): string {
  const { value, object, property } = statement as { value?: unknown; object?: unknown; property?: unknown };
  return object === undefined ? String(value) : `${show(object)}.${show(property)}`;
}

/** As Jinja with `StrictUndefined`: what is not there is an error, not an empty text. */
class StrictInterpreter extends PythonInterpreter {
  #lenient = 0;

  override evaluate(node: unknown, environment: Environment): Value {
    const statement = node as Statement | undefined;
    const lenient = statement !== undefined && takesUndefined(statement);
    if (lenient) this.#lenient++;
    try {
      const value = super.evaluate(node, environment);
      const isLookUp = statement?.type === 'Identifier' || statement?.type === 'MemberExpression';
      if (isLookUp && value.type === 'UndefinedValue' && this.#lenient === 0)
        throw new Error(`there is no "${show(statement)}"`);
      return value;
    } finally {
      if (lenient) this.#lenient--;
    }
  }
}

/** A runtime value as JSON has it. */
function plain({ type, value }: Value): unknown {
  if (type === 'ArrayValue' || type === 'TupleValue') return (value as Value[]).map(plain);
  if (type === 'ObjectValue')
    return Object.fromEntries([...(value as Map<string, Value>)].map(([key, item]) => [key, plain(item)]));
  return value;
}

/** What a field of a task makes of a row. */
export interface Field {
  /** The value of a column or of a template that is one `{{ expression }}`, else a text. */
  value(row: Row): unknown;
  /** All that a template writes, as text; the value of a column as it is. */
  text(row: Row): unknown;
}

/**
 * A field such as doc_to_text: the name of a column, or a Jinja template over the row's columns. `name` and
 * `where` (the task's file) are for errors, each one line: a template that is none; a row that lacks what the
 * template reads, with the row's place.
 */
export function fieldOf(source: string, name: string, where: string, columns: ReadonlySet<string>): Field {
  const columnOf = ({ cells, where: place }: Row): unknown => {
    if (Object.hasOwn(cells, source)) return cells[source];
    throw new Error(`${place}: no column "${source}", which ${name} is; add it, or leave the row out`);
  };
  if (columns.has(source)) return { value: columnOf, text: columnOf };
  if (/^[A-Za-z_]\w*$/.test(source))
    throw new Error(
      `${where}: ${name} is ${brief(source)}, which is no column (there are ${[...columns].slice(0, 8).join(', ')}); ` +
        `name one, or write {{ "${source}" }} for the word itself`,
    );
  let program: Program;
  try {
    // The line end that Jinja drops at the end of a template is kept, as in lm-evaluation-harness.
    program = parseTemplate(source.endsWith('\n') ? `${source}\n` : source);
  } catch (error) {
    throw new Error(`${where}: ${name} is no template of Jinja's (${firstLine(error)}): ${brief(source)}`, {
      cause: error,
    });
  }
  const run = ({ cells, where: place }: Row, evaluate: (run: StrictInterpreter, env: Environment) => Value): Value => {
    const environment = environmentOf(cells);
    try {
      return evaluate(new StrictInterpreter(environment), environment);
    } catch (error) {
      throw new Error(`${place}: ${name}: ${firstLine(error)}; mend the template or the row`, { cause: error });
    }
  };
  const [only, ...more] = program.body;
  const isExpression = only !== undefined && more.length === 0 && /^\s*\{\{/.test(source);
  const text = (row: Row): unknown => run(row, (interpreter) => interpreter.run(program)).value;
  return {
    text,
    value(row) {
      if (!isExpression) return text(row);
      const value = run(row, (interpreter, environment) => interpreter.evaluate(only, environment));
      return value.type === 'BooleanValue' ? (value.value ? 'True' : 'False') : plain(value);
    },
  };
}

/** Two rows with equal cells. */
export function sameRow(a: Row, b: Row): boolean {
  return sameJson(a.cells, b.cells);
}

function sameJson(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((x, i) => sameJson(x, b[i]));
  if (!isJsonObject(a) || !isJsonObject(b)) return Object.is(a, b);
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}
