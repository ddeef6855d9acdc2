/** A cell of TypeScript as a function of the notebook's variables. */
import type ts from 'typescript';

/** JavaScript of a cell, and how to find its lines again. */
export interface CompiledCell {
  /**
   * Statements that set `$cell` to an async function, of `$scope` and `$import`, which returns the cell's
   * value.
   */
  readonly code: string;
  /** The names that the cell declares for those after it. */
  readonly names: readonly string[];
  /** Of `code`, for errors. */
  readonly sourceMap: string;
}

/**
 * A change of the source: what lies in [from, to) becomes `text`. None crosses a line's end, so that lines
 * stay.
 */
interface Edit {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** TypeScript, which a user of the package may not have. */
export async function loadTypeScript(): Promise<typeof ts> {
  try {
    return (await import('typescript')).default;
  } catch {
    throw new Error('notebook: cells are read by the package typescript, which is not here; npm install typescript');
  }
}

/**
 * Makes a function of a cell. What the cell declares at its top outlives it: declarations become assignments
 * to the notebook's variables, imports are awaited, and a last expression is the cell's value. Error: the
 * line and what is wrong with it.
 */
export function compileCell(compiler: typeof ts, source: string): CompiledCell {
  // As a module, where `await` needs no function.
  const module = `${source}\nexport {};`;
  const file = compiler.createSourceFile('cell.ts', module, compiler.ScriptTarget.ESNext, true);
  const [wrong] = compiler.transpileModule(module, { reportDiagnostics: true }).diagnostics ?? [];
  if (wrong) {
    const line = file.getLineAndCharacterOfPosition(wrong.start ?? 0).line + 1;
    throw new SyntaxError(`line ${line}: ${compiler.flattenDiagnosticMessageText(wrong.messageText, ' ')}`);
  }
  const edits: Edit[] = [];
  const names: string[] = [];
  const insert = (at: number, text: string): void => void edits.push({ from: at, to: at, text });
  const replace = (from: number, to: number, text: string): void => void edits.push({ from, to, text });
  /** Blanks out, with the lines that it had. */
  const remove = (node: ts.Node): void =>
    replace(node.getStart(file), node.getEnd(), node.getText(file).replace(/[^\n]/g, ''));

  const declare = (name: ts.BindingName): void => {
    if (compiler.isIdentifier(name)) names.push(name.text);
    else for (const each of name.elements) if (compiler.isBindingElement(each)) declare(each.name);
  };
  /**
   * `import a, { b as c } from 'x'` becomes `({ default: a, b: c } = await $import('x'))`, and
   * `import a, * as all from 'x'` becomes `({ default: a } = all = await $import('x'))`.
   */
  const changeImport = (node: ts.ImportDeclaration): void => {
    const { importClause: clause, moduleSpecifier } = node;
    if (clause && isTypeOnly(clause)) return remove(node);
    const bindings = clause?.namedBindings;
    const whole = bindings && compiler.isNamespaceImport(bindings) ? bindings.name.text : undefined;
    const parts: (readonly [from: string, to: string])[] = clause?.name ? [['default', clause.name.text]] : [];
    if (bindings && compiler.isNamedImports(bindings))
      for (const { isTypeOnly, name, propertyName } of bindings.elements)
        if (!isTypeOnly) parts.push([(propertyName ?? name).getText(file), name.text]);
    names.push(...parts.map(([, to]) => to), ...(whole === undefined ? [] : [whole]));
    const load = `${whole === undefined ? '' : `${whole} = `}await $import(${moduleSpecifier.getText(file)})`;
    const pattern = `{ ${parts.map(([from, to]) => `${from}: ${to}`).join(', ')} }`;
    const lines = node.getText(file).replace(/[^\n]/g, '');
    replace(node.getStart(file), node.getEnd(), `${parts.length > 0 ? `(${pattern} = ${load})` : load};${lines}`);
  };
  const isTypeOnly = (clause: ts.ImportClause): boolean =>
    clause.phaseModifier === compiler.SyntaxKind.TypeKeyword ||
    (!clause.name &&
      clause.namedBindings !== undefined &&
      compiler.isNamedImports(clause.namedBindings) &&
      clause.namedBindings.elements.length > 0 &&
      clause.namedBindings.elements.every((each) => each.isTypeOnly));

  const changeVariables = (node: ts.VariableStatement): void => {
    const { declarations, flags } = node.declarationList;
    const isUsing = (flags & compiler.NodeFlags.Using) === compiler.NodeFlags.Using;
    // What is disposed at the cell's end is nobody else's; `declare` says nothing to do.
    if (isUsing || node.modifiers?.some(({ kind }) => kind === compiler.SyntaxKind.DeclareKeyword)) return;
    replace(node.getStart(file), declarations[0]!.getStart(file), '');
    for (const { name, type, exclamationToken, initializer } of declarations) {
      declare(name);
      const start = name.getStart(file);
      insert(start, '(');
      const end = exclamationToken?.getEnd() ?? name.getEnd();
      if (exclamationToken) replace(name.getEnd(), end, '');
      if (type) replace(end, type.getEnd(), source.slice(end, type.getEnd()).replace(/[^\n]/g, ''));
      if (initializer) insert(initializer.getEnd(), ')');
      else insert(type?.getEnd() ?? end, ' = undefined)');
    }
    if (!node.getText(file).endsWith(';')) insert(node.getEnd(), ';');
  };

  const statements = file.statements.slice(0, -1);
  for (const statement of statements) {
    if (compiler.isImportDeclaration(statement)) changeImport(statement);
    else if (compiler.isVariableStatement(statement)) changeVariables(statement);
    else if (compiler.isFunctionDeclaration(statement) && statement.name && statement.body) {
      names.push(statement.name.text);
      insert(0, `$scope.${statement.name.text} = ${statement.name.text}; `);
    } else if (
      (compiler.isClassDeclaration(statement) || compiler.isEnumDeclaration(statement)) &&
      statement.name !== undefined
    ) {
      names.push(statement.name.text);
      insert(statement.getEnd(), `; $scope.${statement.name.text} = ${statement.name.text};`);
    } else if (
      compiler.isExportAssignment(statement) ||
      compiler.isExportDeclaration(statement) ||
      compiler.isImportEqualsDeclaration(statement)
    )
      throw new SyntaxError(`line ${lineOf(file, statement)}: a cell exports nothing; its variables are there for all`);
  }
  const last = statements.at(-1);
  if (last && compiler.isExpressionStatement(last)) {
    insert(last.getStart(file), 'return (');
    insert(last.expression.getEnd(), ')');
  }
  const visit = (node: ts.Node): void => {
    if (compiler.isCallExpression(node) && node.expression.kind === compiler.SyntaxKind.ImportKeyword)
      replace(node.expression.getStart(file), node.expression.getEnd(), '$import');
    compiler.forEachChild(node, visit);
  };
  visit(file);

  const { outputText, sourceMapText = '' } = compiler.transpileModule(
    `$cell = async () => { "use strict"; ${edited(source, edits)}\n}`,
    {
      fileName: 'cell.ts',
      compilerOptions: { target: compiler.ScriptTarget.ES2022, module: compiler.ModuleKind.ESNext, sourceMap: true },
    },
  );
  // Around the cell, which is strict itself, lies a `with`, by which it sees the notebook's variables.
  const code = outputText.replace(/^"use strict";/, '').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '');
  return { code, names: [...new Set(names)], sourceMap: sourceMapText };
}

const lineOf = (file: ts.SourceFile, node: ts.Node): number =>
  file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1;

/** The source with its changes made; of several at one place in the order in which they were asked for. */
function edited(source: string, edits: readonly Edit[]): string {
  const order = edits.map((edit, i) => ({ ...edit, i })).sort((a, b) => a.from - b.from || a.i - b.i);
  let [text, at] = ['', 0];
  for (const { from, to, text: own } of order) {
    text += source.slice(at, from) + own;
    at = Math.max(at, to);
  }
  return text + source.slice(at);
}
