import { join, relative } from 'node:path';
import ts from 'typescript';
import { root } from './files.ts';

/** A function, class or constant that the package exports. */
export interface PublicValue {
  readonly name: string;
  /** Its source, from the root. */
  readonly file: string;
  /** The entry point that exports it, from the root: `autograd/index.ts`. */
  readonly entry: string;
  readonly isCallable: boolean;
  readonly examples: readonly string[];
}

/** The compiler's options of the repository, for files that lie elsewhere. */
export function compilerOptions(more: ts.CompilerOptions = {}): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: unknown;
  };
  return { ...ts.parseJsonConfigFileContent(config, ts.sys, root).options, ...more };
}

/** What the type checker says of files of a program, each by its path and line. */
export function typeErrors(program: ts.Program, paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText, start = 0 }) => {
        const line = source!.getLineAndCharacterOfPosition(start).line + 1;
        return `${path}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
      },
    );
  });
}

/** Entry points in the order in which examples look for a name, after that of what they explain. */
export const entries = [
  'autograd/index.ts',
  'models/index.ts',
  'train/index.ts',
  'train/optim/index.ts',
  'train/metrics/index.ts',
  'train/serve/index.ts',
  'kernels/index.ts',
  'gpu/index.ts',
];

/** All values that a program's entry points export, each once. */
export function publicValues(program: ts.Program): { values: PublicValue[]; names: Map<string, ReadonlySet<string>> } {
  const checker = program.getTypeChecker();
  const found = new Map<ts.Symbol, PublicValue>();
  const names = new Map<string, ReadonlySet<string>>();
  for (const entry of entries) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(join(root, entry))!);
    const exported = checker.getExportsOfModule(module!).map((symbol) => {
      const value = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
      return { name: symbol.name, value };
    });
    const isValue = ({ value }: { value: ts.Symbol }): boolean => (value.flags & ts.SymbolFlags.Value) !== 0;
    names.set(entry, new Set(exported.filter(isValue).map(({ name }) => name)));
    for (const { name, value } of exported.filter(isValue)) {
      const declaration = value.declarations![0]!;
      if (found.has(value)) continue;
      const type = checker.getTypeOfSymbol(value);
      found.set(value, {
        name,
        file: relative(root, declaration.getSourceFile().fileName),
        entry,
        isCallable: type.getCallSignatures().length + type.getConstructSignatures().length > 0,
        examples: value
          .getJsDocTags(checker)
          .filter((tag) => tag.name === 'example')
          .map(({ text }) => ts.displayPartsToString(text)),
      });
    }
  }
  return { values: [...found.values()], names };
}

/** A statement of an example, and what a comment behind it says it is. */
interface Step {
  readonly code: string;
  readonly expected: string | undefined;
  /** What has the value: a name that the statement declares, or the statement as an expression. */
  readonly value: { readonly name: string } | 'expression';
}

function stepsOf(example: string): { steps: Step[]; used: Set<string> } {
  const source = ts.createSourceFile('example.ts', example, ts.ScriptTarget.Latest, true);
  const used = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isMember = ts.isPropertyAccessExpression(parent) && parent.name === node;
      const isKey = (ts.isPropertyAssignment(parent) || ts.isMethodDeclaration(parent)) && parent.name === node;
      const isDeclared = ts.isVariableDeclaration(parent) && parent.name === node;
      if (!isMember && !isKey && !isDeclared) used.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  const steps = source.statements.map((statement) => {
    const code = statement.getText();
    const [comment] = ts.getTrailingCommentRanges(example, statement.end) ?? [];
    const expected = comment && example.slice(comment.pos + 2, comment.end).trim();
    if (expected === undefined || ts.isExpressionStatement(statement))
      return { code, expected, value: 'expression' as const };
    const [declared] = ts.isVariableStatement(statement) ? statement.declarationList.declarations : [];
    if (!declared || !ts.isIdentifier(declared.name))
      throw new Error(`"${code}" has no value that "// ${expected}" could be; write that comment on a line above it`);
    return { code, expected, value: { name: declared.name.text } };
  });
  return { steps, used };
}

/**
 * The module that runs the examples of some values of one file: `examples` are functions by names, which pass
 * each value that a comment states to `check`.
 */
export function moduleOf(values: readonly PublicValue[], names: Map<string, ReadonlySet<string>>): string {
  const imports = new Map<string, Set<string>>();
  const functions = values.flatMap(({ name, entry, examples }) =>
    examples.map((example) => {
      const { steps, used } = stepsOf(example);
      for (const word of used) {
        const from = [entry, ...entries].find((path) => names.get(path)!.has(word));
        if (from) imports.set(from, (imports.get(from) ?? new Set()).add(word));
      }
      const lines = steps.map(({ code, expected, value }) => {
        if (expected === undefined) return code;
        const text = JSON.stringify(expected);
        return value === 'expression'
          ? `await check(${code.replace(/;$/, '')}, ${text});`
          : `${code} await check(${value.name}, ${text});`;
      });
      const body = lines.map((line) => `    ${line}\n`).join('');
      return `  ['${name}', async (check: (value: unknown, expected: string) => Promise<void>) => {\n${body}  }],\n`;
    }),
  );
  const lines = [...imports].map(
    ([from, words]) => `import { ${[...words].sort().join(', ')} } from ${JSON.stringify(join(root, from))};\n`,
  );
  return `${lines.join('')}export const examples = [\n${functions.join('')}] as const;\n`;
}
