import { existsSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import ts from 'typescript';
import { filesBelow, root } from './support/files.ts';

/**
 * Checks who imports whom, one problem a line, exit 1 on any: `common <- gpu <- kernels <- autograd <-
 * models <- train`; other folders may import any room and nothing imports them; no cycles among value imports; no
 * package that package.json does not name.
 */
const rooms = ['common', 'gpu', 'kernels', 'autograd', 'models', 'train'];
const others = ['bench', 'test', 'experiments', 'notebooks', 'serve'].filter((folder) =>
  existsSync(join(root, folder)),
);

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** Every import, re-export, import() and import type of a file. */
function importsOf(file: string): Import[] {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const found: Import[] = [];
  const note = (specifier: ts.Node | undefined, typeOnly: boolean): void => {
    if (!specifier || !ts.isStringLiteralLike(specifier)) return;
    const { line } = source.getLineAndCharacterOfPosition(specifier.getStart());
    found.push({ specifier: specifier.text, typeOnly, line: line + 1 });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) note(node.moduleSpecifier, node.importClause?.isTypeOnly ?? false);
    else if (ts.isExportDeclaration(node)) note(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) note(node.argument.literal, true);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      note(node.arguments[0], false);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
const shipped = new Set(Object.keys(manifest.dependencies ?? {}));
const development = new Set(Object.keys(manifest.devDependencies ?? {}));

const files = [...rooms.filter((room) => existsSync(join(root, room))), ...others].flatMap((folder) =>
  filesBelow(folder, '.ts'),
);
const known = new Set(files);
const problems: string[] = [];
const valueImports = new Map<string, string[]>();

for (const file of files) {
  // A peer's benchmark has a package.json of its own.
  if (file.startsWith('bench/peers/')) continue;
  const room = file.split('/')[0]!;
  const targets: string[] = [];
  for (const { specifier, typeOnly, line } of importsOf(file)) {
    const place = `${file}:${line}`;
    if (!specifier.startsWith('.')) {
      checkPackage(place, room, specifier);
      continue;
    }
    const target = posix.normalize(posix.join(dirname(file), specifier));
    if (!known.has(target)) {
      if (!existsSync(join(root, target))) problems.push(`${place}: ${specifier} does not exist`);
      else if (target.startsWith('..')) problems.push(`${place}: ${specifier} lies outside of the repository`);
      continue;
    }
    checkRoom(place, room, target);
    if (!typeOnly) targets.push(target);
  }
  valueImports.set(file, targets);
}

function checkRoom(place: string, room: string, target: string): void {
  const other = target.split('/')[0]!;
  if (other === room) return;
  const from = rooms.indexOf(room);
  const to = rooms.indexOf(other);
  if (to < 0) problems.push(`${place}: ${target} is in ${other}/, which nothing imports`);
  else if (from >= 0 && to > from)
    problems.push(`${place}: ${room}/ may not import ${target}; the order is ${rooms.join(' <- ')}`);
}

function checkPackage(place: string, room: string, specifier: string): void {
  if (specifier.startsWith('node:')) return;
  const parts = specifier.split('/');
  const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0]!;
  if (shipped.has(name)) return;
  if (builtinModules.includes(specifier)) problems.push(`${place}: write node:${specifier}`);
  else if (!development.has(name)) problems.push(`${place}: package ${name} is not in package.json`);
  else if (rooms.includes(room))
    problems.push(`${place}: package ${name} is a devDependency; ${room}/ needs it among the dependencies`);
}

/** One cycle of each group of files that import each other, by depth-first search. */
function findCycles(): void {
  const done = new Set<string>();
  const path: string[] = [];
  const onPath = new Set<string>();
  const visit = (file: string): void => {
    if (onPath.has(file)) {
      problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    onPath.add(file);
    for (const target of valueImports.get(file) ?? []) visit(target);
    onPath.delete(file);
    path.pop();
    done.add(file);
  };
  for (const file of valueImports.keys()) visit(file);
}

findCycles();
for (const problem of problems) console.log(problem);
if (problems.length > 0) {
  console.log(`${problems.length} problem${problems.length === 1 ? '' : 's'} with imports`);
  process.exitCode = 1;
}
