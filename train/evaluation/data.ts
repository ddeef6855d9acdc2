import { isAbsolute, join } from 'node:path';
import { Random } from '../../common/random.ts';
import { debianDescriptions } from '../data/debian-package.ts';
import { namedCorpora } from '../data/readers/corpora.ts';
import { parquetRows } from '../data/readers/parquet-file.ts';
import { hashedSplit } from '../data/split.ts';
import type { SplitName } from '../data/split.ts';
import { tableRows } from '../data/table-rows.ts';
import type { TableRow } from '../data/table-rows.ts';
import { textKey } from '../data/text-hash.ts';
import type { Row } from './template.ts';

type Parts = Readonly<Record<string, readonly Row[]>>;

/** Where a task's rows come from, in the words of lm-evaluation-harness. */
export interface DataSource {
  /** json (a line each), csv, tsv or parquet, with `files`; or a name of `projectData`. */
  readonly path: string;
  /** Files of each part ("test", "train"), from the folder of the task's file. */
  readonly files: Readonly<Record<string, readonly string[]>>;
}

const readers: Readonly<Record<string, (path: string) => AsyncGenerator<TableRow>>> = {
  json: (path) => tableRows(path, { format: 'jsonl' }),
  csv: (path) => tableRows(path, { format: 'csv' }),
  tsv: (path) => tableRows(path, { format: 'tsv' }),
  parquet: parquetRows,
};

/** Data that tasks name instead of files: it comes with the project, or the project fetches it. */
const projectData: Readonly<Record<string, () => Promise<Parts>>> = {
  sotu: () => corpusParts('sotu'),
  'moby-dick': () => corpusParts('moby-dick'),
  'debian-synopses': synopses,
};

/** What a task's dataset_path may be. */
export const dataPaths: readonly string[] = [...Object.keys(readers), ...Object.keys(projectData)];

/**
 * The rows of a part of the data; each source is read once. Errors, each one line: what the readers refuse.
 */
export class TaskData {
  readonly #known = new Map<string, Promise<readonly Row[]>>();

  rows({ path, files }: DataSource, part: string, folder: string): Promise<readonly Row[]> {
    const read = readers[path];
    const list = read ? (files[part] ?? []).map((file) => (isAbsolute(file) ? file : join(folder, file))) : [];
    const key = JSON.stringify(read ? [path, list] : [path, part]);
    let rows = this.#known.get(key);
    if (!rows) this.#known.set(key, (rows = read ? readFiles(list, read) : named(path, part)));
    return rows;
  }
}

async function readFiles(files: readonly string[], read: (path: string) => AsyncGenerator<TableRow>): Promise<Row[]> {
  const rows: Row[] = [];
  for (const file of files) {
    const before = rows.length;
    for await (const { line, cells } of read(file)) rows.push({ cells, where: `${file}:${line}` });
    if (rows.length === before) throw new Error(`${file}: no rows; a task needs at least one`);
  }
  return rows;
}

async function named(path: string, part: string): Promise<readonly Row[]> {
  const parts = await projectData[path]!();
  const rows = parts[part];
  if (!rows) throw new Error(`${path}: no part "${part}"; it has ${Object.keys(parts).join(', ')}`);
  return rows;
}

/**
 * The texts of a corpus, split as pretraining splits it, so that "validation" and "test" were not trained on
 * by the models that come with the project.
 */
async function corpusParts(name: string): Promise<Parts> {
  const parts: Record<SplitName, Row[]> = { train: [], validation: [], test: [] };
  for (const { text, source } of await namedCorpora.get(name)!.load())
    parts[hashedSplit(textKey(text), corpusFractions, 0)].push({ cells: { text, source }, where: source });
  return parts;
}

/** The shares of `prepareCorpus`. */
const corpusFractions = { train: 0.9, validation: 0.05, test: 0.05 };

/** Choices of a question, and how many questions are made. */
const [choiceCount, questionCount] = [4, 500];

/**
 * Which line describes a package of Debian: its description, and synopses of which one is its own and the
 * others are those of packages drawn at random. `answer` is the place of its own.
 */
async function synopses(): Promise<Parts> {
  const { descriptions } = await debianDescriptions();
  const sorted = [...descriptions].sort((a, b) => (a.name < b.name ? -1 : 1));
  const random = new Random(11);
  const order = random.permutation(sorted.length);
  const questions = order.slice(0, questionCount).map((own): Row => {
    const { name, synopsis, description } = sorted[own]!;
    const choices = [synopsis];
    while (choices.length < choiceCount) {
      const other = sorted[random.int(sorted.length)]!.synopsis;
      if (!choices.includes(other)) choices.push(other);
    }
    random.shuffle(choices);
    const [paragraph] = description.split('\n');
    const cells = { name, description: paragraph, choices, answer: choices.indexOf(synopsis) };
    return { cells, where: `debian-synopses: ${name}` };
  });
  const shots = 20;
  return { train: questions.slice(0, shots), test: questions.slice(shots) };
}
