import { existsSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import ts from 'typescript';
import { alignTable } from '../common/text-table.ts';
import { circlesOf } from './support/circles.ts';
import { lineFacts, wideLines } from './support/code-lines.ts';
import type { WideLine } from './support/code-lines.ts';
import { filesBelow, rooms, root } from './support/files.ts';

/**
 * Checks how the house is built, one problem a line, exit 1 on any, then prints a table of its rooms:
 * - a room imports those before it only, `common <- gpu <- kernels <- autograd <- models <- distributed <-
 *   train`; other
 *   folders may import any room, and nothing imports them, but for tests of bench/ and examples/;
 * - no circle of imports, of types neither, inside a room neither;
 * - no package that package.json does not name;
 * - no line wider than 120 columns, of comments 110.
 */

/** Folders that are no rooms. */
const others = ['bench', 'test', 'examples', 'experiments', 'notebooks', 'serve'].filter((folder) =>
  existsSync(join(root, folder)),
);

/**
 * Most files of each circle of types, by room. A tensor knows the application that made it, an application
 * its tensors, and both the context that they are made in: four files speak of each other.
 */
const circlesAllowed: Readonly<Record<string, readonly number[]>> = {
  autograd: [4],
};

/** Files that may lie at a room's root, outside of its folders; at train's, scripts, which nobody imports. */
const looseLimits: Readonly<Record<string, number>> = { autograd: 15, models: 8, train: 0 };

/**
 * Lines of code that the rooms of the engine may have together, gpu/driver left out. Begun at 10,800; raised
 * for tensor cores, convolutions, quantised products, what GPUs run abreast, caches of 8 bits, rows that
 * threads share, attention in the tuner and f32 by products of f16. Shrink first, then raise it.
 */
const engine = { rooms: ['gpu', 'kernels', 'autograd'], limit: 16_230 };

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** Every import, re-export, import() and import type of a file. */
function importsOf(source: ts.SourceFile): Import[] {
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
  /** Optional ones, which a script asks for when it needs them. */
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
const shipped = new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }));
const development = new Set(Object.keys(manifest.devDependencies ?? {}));

const folders = [...rooms.filter((room) => existsSync(join(root, room))), ...others];
// A peer's benchmark has a package.json of its own.
const files = folders.flatMap((folder) => filesBelow(folder, '.ts')).filter((f) => !f.startsWith('bench/peers/'));
const known = new Set(files);
const problems: string[] = [];
const valueImports = new Map<string, string[]>();
const allImports = new Map<string, string[]>();
const codeLines = new Map<string, number>();
const tooWide = new Map<string, number>();

for (const file of files) {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest, true);
  const facts = lineFacts(source);
  codeLines.set(file, facts.code);
  checkWidth(file, facts.tooWide);
  const imports: { readonly target: string; readonly typeOnly: boolean }[] = [];
  for (const { specifier, typeOnly, line } of importsOf(source)) {
    const place = `${file}:${line}`;
    if (!specifier.startsWith('.')) {
      checkPackage(place, roomOf(file), specifier);
      continue;
    }
    const target = posix.normalize(posix.join(dirname(file), specifier));
    if (!known.has(target)) {
      if (!existsSync(join(root, target))) problems.push(`${place}: ${specifier} does not exist`);
      else if (target.startsWith('..')) problems.push(`${place}: ${specifier} lies outside of the repository`);
      continue;
    }
    checkRoom(place, roomOf(file), target);
    imports.push({ target, typeOnly });
  }
  allImports.set(
    file,
    imports.map(({ target }) => target),
  );
  valueImports.set(
    file,
    imports.filter(({ typeOnly }) => !typeOnly).map(({ target }) => target),
  );
}
for (const file of ['bench', 'test'].flatMap((folder) => filesBelow(folder, '.py')))
  checkWidth(file, wideLines(readFileSync(join(root, file), 'utf8').split('\n')));
checkCircles();
const engineLines = files
  .filter((file) => engine.rooms.includes(roomOf(file)) && !file.startsWith('gpu/driver'))
  .reduce((total, file) => total + (codeLines.get(file) ?? 0), 0);
if (engineLines > engine.limit)
  problems.push(`${engine.rooms.join(' + ')}: ${engineLines} code lines, at most ${engine.limit}`);

for (const problem of problems) console.log(problem);
console.log(roomTable());
if (problems.length > 0) {
  console.log(`${problems.length} problem${problems.length === 1 ? '' : 's'}`);
  process.exitCode = 1;
}

function roomOf(file: string): string {
  return file.split('/')[0]!;
}

function checkRoom(place: string, room: string, target: string): void {
  const other = roomOf(target);
  if (other === room) return;
  const from = rooms.indexOf(room);
  const to = rooms.indexOf(other);
  if (to < 0 && !(room === 'test' && ['bench', 'examples'].includes(other)))
    problems.push(`${place}: ${target} is in ${other}/, which nothing imports`);
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

function checkWidth(file: string, lines: readonly WideLine[]): void {
  tooWide.set(file, lines.length);
  for (const { line, columns, limit } of lines) problems.push(`${file}:${line}: ${columns} columns, at most ${limit}`);
}

function checkCircles(): void {
  for (const circle of circlesOf(valueImports)) problems.push(`circle of ${circle.length}: ${circle.join(', ')}`);
  const left = Object.fromEntries(Object.entries(circlesAllowed).map(([room, sizes]) => [room, [...sizes]]));
  for (const circle of circlesOf(allImports)) {
    const allowed = left[roomOf(circle[0]!)]?.shift() ?? 0;
    const line = `circle of ${circle.length} (types): ${circle.join(', ')}`;
    if (circle.length > allowed) problems.push(line);
    else console.log(`${line}; allowed`);
  }
}

/** Files, lines of code, loose files and lines too wide, a room a line. */
function roomTable(): string {
  const own = (room: string) => (file: string) => file.startsWith(`${room}/`) && !file.startsWith('gpu/driver');
  const parts = folders.flatMap((room) => {
    const part = { name: room, files: files.filter(own(room)), loose: looseFiles(room) };
    if (room !== 'gpu') return [part];
    return [part, { name: 'gpu/driver', files: files.filter((file) => file.startsWith('gpu/driver')), loose: '' }];
  });
  const sum = (counts: ReadonlyMap<string, number>, list: readonly string[]): number =>
    list.reduce((total, file) => total + (counts.get(file) ?? 0), 0);
  const rows = parts.map(({ name, files: list, loose }) => {
    const wide = sum(tooWide, others.includes(name) ? [...tooWide.keys()].filter(own(name)) : list);
    return [name, String(list.length), String(sum(codeLines, list)), loose, wide > 0 ? String(wide) : ''];
  });
  const head = ['room', 'files', 'code lines', 'loose files', 'lines too wide'];
  const total = `${engine.rooms.join(' + ')}: ${engineLines} code lines of at most ${engine.limit}`;
  return `${alignTable(head, rows, new Set([1, 2, 3, 4]))}\n${total}, gpu/driver left out`;
}

function looseFiles(room: string): string {
  const limit = looseLimits[room];
  if (limit === undefined) return '';
  const atRoot = files.filter((file) => file.startsWith(`${room}/`) && file.split('/').length === 2);
  if (limit > 0) return `${atRoot.length} of ${limit}`;
  const imported = new Set([...allImports].flatMap(([file, targets]) => (roomOf(file) === room ? targets : [])));
  return `${atRoot.filter((file) => imported.has(file) && !file.endsWith('/index.browser.ts')).length} of 0`;
}
