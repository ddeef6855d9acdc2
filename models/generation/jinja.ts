/**
 * Jinja as Python has it, on npm `@huggingface/jinja`: what that package takes more lightly, refused or
 * written as Jinja in Python does.
 */
import * as jinja from '@huggingface/jinja';

/** A value while a template runs. */
export interface Value {
  readonly type: string;
  readonly value: unknown;
}

/** A part of a parsed template. */
export interface Statement {
  readonly type: string;
}

interface Filter {
  readonly type: string;
  /** The name, where it has no arguments. */
  readonly value?: unknown;
}

interface Binary {
  readonly operator: { readonly value: string };
  readonly left: unknown;
  readonly right: unknown;
}

/** The names that a template knows. */
export interface Environment {
  set(name: string, value: unknown): unknown;
}

export interface Program {
  readonly body: readonly Statement[];
}

/** What is used of the package, whose own types do not resolve for modules with explicit file endings. */
interface Jinja {
  readonly Environment: new (parent?: Environment) => Environment;
  readonly Interpreter: new (environment: Environment) => {
    evaluate(node: unknown, environment: Environment): Value;
    evaluateBinaryExpression(node: Binary, environment: Environment): Value;
    applyFilter(operand: Value, filter: Filter, environment: Environment): Value;
    evaluateBlock(statements: readonly object[], environment: Environment): Value;
    run(program: Program): Value;
  };
  readonly parse: (tokens: object) => Program;
  readonly tokenize: (template: string, options?: TemplateOptions) => object;
}
const { Environment: Names, Interpreter, parse, tokenize } = jinja as unknown as Jinja;

/** Jinja's own: take the blanks before a tag of a line, and the line end after it. */
export interface TemplateOptions {
  readonly lstrip_blocks?: boolean;
  readonly trim_blocks?: boolean;
}

/** Transformers' tags around what the assistant says, which the package drops. */
const generationTag = /{%(-?)\s*(end)?generation\s*(-?)%}/g;

/** Whether a template tells what the assistant says, by `{% generation %}`. */
export const tellsGeneration = (template: string): boolean => template.search(generationTag) !== -1;

/** Error: the text is no template. */
export function parseTemplate(template: string, options?: TemplateOptions): Program {
  // As in Transformers, a block of a call: it has names of its own, and takes blanks as other tags do.
  const calls = template.replace(
    generationTag,
    (_, before: string, end: string | undefined, after: string) =>
      `{%${before} ${end ? 'endcall' : 'call generation()'} ${after}%}`,
  );
  return parse(tokenize(calls, options));
}

/** What stands around the assistant's words in a text: no characters of Unicode. */
export const generationMarks = ['\ufdd0', '\ufdd1'] as const;

interface CallStatement extends Statement {
  readonly call: { readonly callee: { readonly value?: unknown } };
  readonly body: readonly Statement[];
}

const isGeneration = (node: Statement | undefined): node is CallStatement =>
  node?.type === 'CallStatement' && (node as CallStatement).call.callee.value === 'generation';

/** These names, and those of Jinja's constants. */
export function environmentOf(names: Readonly<Record<string, unknown>>): Environment {
  const constants = { true: true, True: true, false: false, False: false, none: null, None: null };
  const environment = new Names();
  for (const [name, value] of Object.entries({ ...constants, ...names })) environment.set(name, value);
  return environment;
}

/** Steps of a template. The longest known ones take some 10,000 for a dialogue of a hundred turns. */
export const mostSteps = 300_000;

/** An operand that is evaluated already. */
class Known {
  readonly value: Value;

  constructor(value: Value) {
    this.value = value;
  }
}

/** An expression whose value is a part of the text. */
class Shown {
  readonly node: Statement;

  constructor(node: Statement) {
    this.node = node;
  }
}

/** Statements, which have no value. */
const silent = new Set([
  'Set',
  'If',
  'For',
  'Macro',
  'CallStatement',
  'FilterStatement',
  'Break',
  'Continue',
  'Comment',
]);

/** A text of the class of another. */
const textLike = ({ constructor }: Value, text: string): Value =>
  new (constructor as new (text: string) => Value)(text);

/** None, True and False are written as Python does. */
function asPython(value: Value): Value {
  if (value.type === 'NullValue') return { type: 'StringValue', value: 'None', toString: () => 'None' } as Value;
  if (value.type !== 'BooleanValue') return value;
  const text = value.value === true ? 'True' : 'False';
  return { type: 'StringValue', value: text, toString: () => text } as Value;
}

/**
 * Stops a template that does not end, since what comes with a model is a stranger's program; and refuses, as
 * Python does, to add a text and something else.
 */
export class PythonInterpreter extends Interpreter {
  #steps = 0;
  readonly #marks: readonly [string, string] | undefined;

  /** `marks` go around what stands in `{% generation %}`. */
  constructor(environment: Environment, marks?: readonly [string, string]) {
    super(environment);
    this.#marks = marks;
  }

  override evaluate(node: unknown, environment: Environment): Value {
    if (node instanceof Known) return node.value;
    if (node instanceof Shown) return asPython(this.evaluate(node.node, environment));
    this.#count();
    const statement = node as Statement | undefined;
    return isGeneration(statement) ? this.#generation(statement, environment) : super.evaluate(node, environment);
  }

  #generation({ body }: CallStatement, environment: Environment): Value {
    const value = this.evaluateBlock(body, new Names(environment));
    return this.#marks ? textLike(value, `${this.#marks[0]}${String(value.value)}${this.#marks[1]}`) : value;
  }

  override evaluateBinaryExpression(node: Binary, environment: Environment): Value {
    if (node.operator.value !== '+') return super.evaluateBinaryExpression(node, environment);
    const [left, right] = [this.evaluate(node.left, environment), this.evaluate(node.right, environment)];
    if ((left.type === 'StringValue') !== (right.type === 'StringValue'))
      throw new Error(`it adds a text and something that is none: ${left.type} + ${right.type}`);
    return super.evaluateBinaryExpression({ ...node, left: new Known(left), right: new Known(right) }, environment);
  }

  /** Python counts characters, JavaScript halves of some. */
  override applyFilter(operand: Value, filter: Filter, environment: Environment): Value {
    const isLength = operand.type === 'StringValue' && filter.value === 'length';
    const counted = isLength ? textLike(operand, Array.from(String(operand.value), () => 'x').join('')) : operand;
    return super.applyFilter(counted, filter, environment);
  }

  /** Runs once for each round of a loop, whose body may be empty. */
  override evaluateBlock(statements: readonly Statement[], environment: Environment): Value {
    this.#count();
    const shown = statements.map((node) => (silent.has(node.type) ? node : new Shown(node)));
    return super.evaluateBlock(shown, environment);
  }

  #count(): void {
    if (++this.#steps > mostSteps) throw new Error(`it takes more than ${mostSteps} steps; it may never end`);
  }
}
