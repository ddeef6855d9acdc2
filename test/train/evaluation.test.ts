// Tasks against lm-evaluation-harness: golden/evaluation/ is made by test/golden/golden_evaluation.py.
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadTextGenerator } from '../../models/index.ts';
import { AnswerCache, modelHash } from '../../train/evaluation/answer-cache.ts';
import { evaluateTasks } from '../../train/evaluation/evaluate.ts';
import type { EvaluateOptions, EvaluationResults, Figures, TaskEvaluation } from '../../train/evaluation/evaluate.ts';
import { pythonPattern } from '../../train/evaluation/python-pattern.ts';
import { PythonRandom } from '../../train/evaluation/python-random.ts';
import { resultTables } from '../../train/evaluation/report.ts';
import { rollingWindows } from '../../train/evaluation/requests.ts';
import { readTasks } from '../../train/evaluation/task-file.ts';
import { rejects, throwsOneLine } from '../support/failure.ts';
import { goldenFile } from '../support/golden.ts';
import { refused, runScript } from '../support/script.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

type Answer = readonly [number, boolean] | number | string;
interface GoldenSample {
  readonly doc_id: number;
  readonly arguments: readonly (readonly [string, string | object])[];
  readonly filtered_resps: readonly Answer[];
  readonly [metric: string]: unknown;
}
interface Golden extends EvaluationResults {
  readonly bootstraps: number;
  readonly samples: Readonly<Record<string, readonly GoldenSample[]>>;
  readonly part: { readonly limit: number; readonly numFewshot: number; readonly results: Record<string, Figures> };
  readonly templates: Readonly<Record<string, string>>;
  readonly chats: readonly {
    readonly template: string;
    readonly fewshot_as_multiturn: boolean;
    readonly system_instruction?: string;
    readonly limit: number;
    readonly numFewshot: number;
    readonly results: Readonly<Record<string, Figures>>;
    readonly samples: Golden['samples'];
  }[];
}

const test = suite('evaluation');
const golden = JSON.parse(readFileSync(goldenFile('evaluation/expected.json'), 'utf8')) as Golden;
const shipped = fileURLToPath(new URL('../../models/pretrained/gpt-small', import.meta.url));
const taskPath = (name: string): string => goldenFile(`evaluation/${name}.json`);
let folder = '';
temporaryFolder(test, (path) => {
  folder = path;
});

async function run(names: readonly string[], options: EvaluateOptions = {}): Promise<TaskEvaluation> {
  const { bootstraps } = golden;
  return evaluateTasks(await loadTextGenerator(shipped), names, { bootstraps, ...options });
}

/** Fails unless two values of JSON are equal, numbers within the tolerance relative and absolute. */
function same(found: unknown, wanted: unknown, where: string, tolerance = 1e-5): void {
  if (typeof wanted === 'number' && typeof found === 'number') {
    assert.ok(Math.abs(found - wanted) <= tolerance * (1 + Math.abs(wanted)), `${where}: ${found}, not ${wanted}`);
    return;
  }
  if (typeof wanted !== 'object' || wanted === null) return assert.is(found, wanted, where);
  assert.equal(Object.keys(found as object).sort(), Object.keys(wanted).sort(), where);
  for (const [key, value] of Object.entries(wanted))
    same((found as Record<string, unknown>)[key], value, `${where}.${key}`, tolerance);
}

/** Fails unless all prompts, answers and scores are equal. */
function sameSamples(found: TaskEvaluation['samples'], wanted: Golden['samples']): void {
  // Of a request to write a text, how it ends is written in another way.
  const prompts = (list: unknown): unknown =>
    (list as unknown[][]).map((each) => each.filter((x) => typeof x === 'string'));
  for (const [name, rows] of Object.entries(wanted)) {
    assert.is(found[name]!.length, rows.length, name);
    rows.forEach(({ arguments: asked, ...row }, i) => {
      const where = `${name} ${i}`;
      assert.equal(prompts(found[name]![i]!['arguments']), prompts(asked), where);
      for (const [key, value] of Object.entries(row)) same(found[name]![i]![key], value, `${where} ${key}`);
    });
  }
}

/** As found, without what a group of lm-evaluation-harness counts and nobody reads. */
const withoutCounts = (all: Readonly<Record<string, Figures>>) =>
  Object.fromEntries(Object.entries(all).map(([name, { sample_count: _, ...figures }]) => [name, figures]));

test('prompts, answers, scores, figures and their errors are those of lm-evaluation-harness', async () => {
  const alone = Object.keys(golden.samples).filter(
    (name) =>
      !Object.values(golden.group_subtasks ?? {})
        .flat()
        .includes(name),
  );
  const { results, samples, counts } = await run([...Object.keys(golden.groups!), ...alone].map(taskPath));
  sameSamples(samples, golden.samples);
  same(withoutCounts(results.results), withoutCounts(golden.results), 'results');
  same(withoutCounts(results.groups!), withoutCounts(golden.groups!), 'groups');
  assert.equal(results['n-samples'], golden['n-samples']);
  same(results['n-shot'], golden['n-shot'], 'n-shot');
  assert.equal(results.versions['questions'], golden.versions['questions']);
  for (const name of Object.keys(golden.samples))
    assert.equal(results.higher_is_better[name], golden.higher_is_better[name], name);
  const filtered = JSON.parse(readFileSync(taskPath('filtered'), 'utf8')) as Record<string, unknown>;
  const written = JSON.parse(JSON.stringify(results.configs['filtered'])) as typeof filtered;
  assert.equal(written['metric_list'], filtered['metric_list'], 'patterns are written as they were');
  assert.is(counts.cached, 0);
  const tables = resultTables(results);
  assert.match(tables, /^Tasks +Version +n-shot +Filter +Metric +Value +Stderr\n/);
  assert.match(tables, /\n - questions +2\.5 +0 +none +acc +↑ +0\.\d{4} +± +0\.\d{4}\n/);
  assert.match(tables, /\nGroups /);
});

test('a limit, and another number of examples', async () => {
  const { limit, numFewshot, results } = golden.part;
  const found = await run(['questions', 'drawn'].map(taskPath), { limit, numFewshot });
  same(found.results.results, results, 'results');
  const half = await run([taskPath('questions')], { limit: 0.5, bootstraps: 0 });
  assert.match(resultTables(half.results), /^Tasks +Version +n-shot +Metric +Value +Stderr\n/);
  assert.equal(half.results['n-samples'], { questions: { original: 14, effective: 7 } });
  assert.is(half.results.results['questions']!['acc_stderr,none'], 'N/A');
});

test('prompts as dialogues: examples in turns or in one question; a template without a system turn', async () => {
  const { model, tokenizer } = await loadTextGenerator(shipped);
  const talking = Object.create(tokenizer) as typeof tokenizer;
  Object.defineProperty(talking, 'chatTemplate', { value: golden.templates });
  for (const chat of golden.chats) {
    const { limit, numFewshot, samples: wanted } = chat;
    const { samples, results, counts } = await evaluateTasks(
      { model, tokenizer: talking },
      Object.keys(wanted).map(taskPath),
      {
        ...{ limit, numFewshot, bootstraps: 0, applyChatTemplate: chat.template },
        ...{ systemInstruction: chat.system_instruction, fewshotAsMultiturn: chat.fewshot_as_multiturn },
      },
    );
    sameSamples(samples, wanted);
    same(results.results, chat.results, 'results');
    assert.is(counts.withoutSystem > 0, chat.template === 'strict');
  }
  await rejects(
    evaluateTasks({ model, tokenizer }, [taskPath('questions')], { applyChatTemplate: true }),
    /^chat template: (the tokenizer has none|name one of) .*$/,
  );
});

test('patterns are those of Python', () => {
  const all = (pattern: string, text: string): string[] => [...text.matchAll(pythonPattern(pattern))].map(([x]) => x);
  assert.equal(all('(?s).*#### ', 'a\nb #### 12'), ['a\nb #### ']);
  assert.equal(all('(\\-?[0-9\\.\\,]+)', 'about -1,234.5 or 7'), ['-1,234.5', '7']);
  assert.equal(all('\\b\\w+\\b', 'café, naïve_1'), ['café', 'naïve_1']);
  assert.equal(all('(?i)(?P<a>é)', 'Éé'), ['É', 'é']);
  assert.equal(all('\\d', '٣4'), ['٣', '4']);
  assert.equal(all('[[\\]\\w-]+', 'a[é]-b c'), ['a[é]-b', 'c']);
  assert.equal(all('x$', 'x\nx\n'), ['x']);
  assert.equal(all('\\Ax|x\\Z', 'x\nx\nx'), ['x', 'x']);
  assert.equal(all('.', '🔥'), ['🔥']);
  assert.equal(all('\\$|\\ |\\"', '$ "'), ['$', ' ', '"']);
  const bad = (pattern: string, line: RegExp): void => throwsOneLine(() => pythonPattern(pattern), line);
  bad('(?x) a', /^the pattern "\(\?x\) a" has the flag x, which is not known here; write it in another way$/);
  bad('(?P<a>x)(?P=a)', /^the pattern .* names a group that was found before; .*$/);
  bad('[\\W]', /^the pattern .* has \\W in brackets; .*$/);
  bad('(', /^the pattern "\(" is none that is known here; .*$/);
});

test('random numbers are those of Python', () => {
  const random = new PythonRandom(1234);
  assert.equal(
    [random.sample(10, 3), random.sample(10, 3), random.sample(10, 3)],
    [
      [7, 1, 0],
      [1, 0, 9],
      [1, 5, 3],
    ],
  );
  assert.equal(random.sample(1000, 7), [17, 31, 807, 16, 354, 663, 638]);
  assert.equal(random.sample(1000, 7), [495, 630, 474, 152, 93, 187, 730]);
  assert.is(random.random(), 0.11441296968868764);
});

test('windows predict each token once, with as much before as fits', () => {
  const ids = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  assert.equal(rollingWindows(ids, 99, 4), [
    { context: [99], continuation: [0, 1, 2, 3] },
    { context: [3], continuation: [4, 5, 6, 7] },
    { context: [5, 6, 7], continuation: [8, 9] },
  ]);
  assert.equal(rollingWindows([5], 99, 4), [{ context: [99], continuation: [5] }]);
  assert.equal(rollingWindows([], 99, 4), []);
});

test('answers are kept; of a line that was cut the rest is', async () => {
  const path = join(folder, 'answers.jsonl');
  const first = await AnswerCache.open(path);
  const { counts, samples } = await run([taskPath('endings')], { cache: first });
  first.close();
  assert.equal(counts, { requests: counts.requests, cached: 0, cut: 0, withoutSystem: 0 });
  appendFileSync(path, '["cut off', 'utf8');
  const again = await AnswerCache.open(path);
  const other = await run([taskPath('endings')], { cache: again });
  again.set('more', 'text');
  again.close();
  assert.is(other.counts.cached, counts.requests);
  assert.equal(other.samples, samples);
  const last = await AnswerCache.open(path);
  assert.is(last.get('more'), 'text');
  last.close();
});

test('answers are those of one model: of its files, not of what lies beside them', async () => {
  const path = join(folder, 'model');
  mkdirSync(path);
  const write = (name: string, text: string): void => writeFileSync(join(path, name), text);
  write('config.json', '{}');
  write('model.safetensors', 'weights');
  const before = await modelHash(path);
  write('report.html', 'a page');
  assert.is(await modelHash(path), before);
  write('model.safetensors', 'others');
  assert.is.not(await modelHash(path), before);
  assert.match(await modelHash(goldenFile('tiny-gpt2.gguf')), /^[0-9a-f]{64}$/);
});

/** A task of one row in files of its own. */
function taskFile(name: string, fields: object, rows: readonly object[]): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${name}.jsonl`), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const task = {
    task: name,
    dataset_path: 'json',
    dataset_kwargs: { data_files: { test: `${name}.jsonl` } },
    test_split: 'test',
    output_type: 'multiple_choice',
    doc_to_text: '{{q}}',
    doc_to_choice: 'c',
    doc_to_target: 'a',
    ...fields,
  };
  const path = join(folder, `${name}.json`);
  writeFileSync(path, JSON.stringify(task));
  return path;
}

test('bad files, templates, choices and rows are refused in one line with their place', async () => {
  const good = { q: 'Why?', c: ['x', 'y'], a: 0 };
  const bad = async (fields: object, rows: readonly object[], pattern: RegExp) =>
    rejects(run([taskFile('bad', fields, rows)]), pattern);
  await bad({ doc_to_text: '{{q' }, [good], /bad\.json: doc_to_text is no template of Jinja's \(.*\): "\{\{q"$/);
  await bad(
    { doc_to_text: '{{qq}}' },
    [good],
    /bad\.jsonl:1: doc_to_text: there is no "qq"; mend the template or the row$/,
  );
  await bad(
    { doc_to_text: 'qq' },
    [good],
    /bad\.json: doc_to_text is "qq", which is no column \(there are q, c, a\); .*$/,
  );
  await bad({}, [good, { q: 'x', a: 0 }], /bad\.jsonl:2: no column "c", which doc_to_choice is; .*$/);
  await bad({}, [good, { ...good, a: 2 }], /bad\.jsonl:2: doc_to_target is 2, which is none of the 2 choices .*$/);
  await bad({}, [good, { ...good, a: 'z' }], /bad\.jsonl:2: doc_to_target is "z", which is none of the 2 choices .*$/);
  await bad({}, [good, { ...good, c: ['x'] }], /bad\.jsonl:2: doc_to_choice is \["x"\]; a list of at least two.*$/);
  await bad({ num_fewshot: 3, fewshot_split: 'test' }, [good, good], /3 examples are asked for, and there are 1; .*$/);
  await bad(
    { metric_list: [{ metric: 'perplexity' }] },
    [good],
    /perplexity is no metric of multiple_choice; it has acc, .*$/,
  );
  await bad({ metric_list: [{ metric: 'rouge' }] }, [good], /bad\.json: metric_list\.0\.metric: Invalid option.*$/);
  const filter = (...steps: object[]) => ({ filter_list: [{ name: 'f', filter: steps }] });
  const first = { function: 'take_first' };
  await bad(
    filter({ function: 'regex' }),
    [good],
    /bad\.json: filter_list\.0\.filter: its last step, and no other, .*$/,
  );
  await bad(filter({ function: 'vote' }, first), [good], /bad\.json: filter_list\.0\.filter\.0\.function: Invalid .*$/);
  await bad(
    filter({ function: 'regex', regex_pattern: '(' }, first),
    [good],
    /bad\.json: filter_list\.0\.filter\.0\.regex_pattern: the pattern "\(" is none that is known here; .*$/,
  );
  await bad(filter({ function: 'lowercase' }, first), [good], /multiple_choice asks for none; take it out$/);
  const texts = { output_type: 'generate_until', doc_to_choice: undefined };
  const twice = filter(first).filter_list;
  await bad({ ...texts, filter_list: [...twice, ...twice] }, [good], /two filters have the name "f"; rename .*$/);
  const letters = { ...filter({ function: 'multi_choice_regex' }, first), generation_kwargs: { max_gen_toks: 2 } };
  await bad(
    { ...texts, ...letters },
    [good],
    /bad\.jsonl:1: the filter multi_choice_regex needs a column "choices" .*$/,
  );
  await bad({ ...texts, metric_list: [{ metric: 'bleu' }] }, [{ ...good, a: ['x', 'y'] }], /bleu needs one text .* 2$/);
  const three = { ...good, c: ['x', 'y', 'z'] };
  await bad({ metric_list: [{ metric: 'f1' }] }, [three], /f1 is of the second of two choices, .* 3; use mcc$/);
  await bad({ metric_list: [{ metric: 'mcc' }] }, [{ ...three, a: [0, 1] }], /mcc needs one right choice, .* \[0,1\]$/);
  await bad({ dataset_kwargs: { data_files: 'bad.jsonl' } }, [good], /its part "test" has no files; .*$/);
  await bad({ test_split: 'dev' }, [good], /its part "dev" has no files; .*$/);
  await bad({ dataset_kwargs: { data_files: { test: 'no.jsonl' } } }, [good], /no\.jsonl: no such file$/);
  await bad({}, [], /bad\.jsonl: no rows; a task needs at least one$/);
  const writes = { output_type: 'generate_until', doc_to_choice: undefined, generation_kwargs: { max_gen_toks: 128 } };
  await bad(writes, [good], /max_gen_toks 128 leaves no room for a prompt in the 128 tokens that the model reads; .*$/);
  const rolling = { output_type: 'loglikelihood_rolling', doc_to_target: 'q', doc_to_choice: undefined };
  await bad(rolling, [{ ...good, q: '' }], /bad\.jsonl:1: doc_to_target is empty; .*$/);
  await rejects(readTasks(['nowhere']), /^nowhere: no such task file; the project's own are .*sotu-perplexity$/);
  writeFileSync(join(folder, 'ring.json'), JSON.stringify({ group: 'ring', task: 'ring' }));
  await rejects(readTasks([join(folder, 'ring.json')]), /ring\.json: the group is within itself; .*$/);
});

test('the script writes what lm-evaluation-harness writes; killed, it goes on with what it knew', async () => {
  const output = join(folder, 'run');
  const tasks = ['questions', 'texts'].map(taskPath).join();
  const args = ['train/evaluate.ts', '--tasks', tasks, '--output', output, '--batch-size', '4'];
  const killed = await runScript(['--import', './test/support/kill-at.ts', ...args], { env: { KILL_AT: '40' } });
  assert.is(killed.signal, 'SIGKILL', killed.stderr);
  const [answers] = readdirSync(output);
  const known = readFileSync(join(output, answers!), 'utf8').split('\n').length - 1;
  assert.ok(known > 20 && known < 40, `${known} answers`);
  const { code, stdout, stderr } = await runScript(args);
  assert.is(code, 0, stderr);
  assert.match(stdout, new RegExp(`\n\\d+ requests, ${known} of them answered before; .*results\\.json\n$`));
  const results = JSON.parse(readFileSync(join(output, 'results.json'), 'utf8')) as EvaluationResults;
  same(results.results['questions'], golden.results['questions'], 'questions');
  const [first] = readFileSync(join(output, 'samples_texts.jsonl'), 'utf8').split('\n');
  same((JSON.parse(first!) as GoldenSample).filtered_resps, golden.samples['texts']![0]!.filtered_resps, 'texts');
});

test('the script refuses what it cannot do in one line', async () => {
  refused(await runScript(['train/evaluate.ts', '--tasks', 'nowhere']), 1, /^nowhere: no such task file; .*$/);
  refused(await runScript(['train/evaluate.ts']), 2, /^evaluate: needs tasks: --tasks FILE\.json, or .*$/);
  const { stdout } = await runScript(['train/evaluate.ts', '--tasks', 'list']);
  assert.equal(stdout.trim().split('\n').sort(), [
    'debian-synopses',
    'held-out',
    'moby-dick-perplexity',
    'sotu-perplexity',
  ]);
});

test.run();
