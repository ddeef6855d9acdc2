import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HelpRequest, UsageError, describeError, parseOptions, usagePage } from '../../train/cli/cli.ts';
import { duration, progress } from '../../common/progress.ts';
import type { OutputStream } from '../../common/progress.ts';

const test = suite('train/cli');

const command = {
  name: 'tune',
  summary: 'fits a classifier',
  usage: 'npx tsx train/tune.ts',
  options: {
    lr: { type: 'number', default: 5e-5, min: 0, max: 1, help: 'peak learning rate' },
    batchSize: { type: 'int', default: 32, min: 1, help: 'examples a step', short: 'b' },
    schedule: { type: 'choice', choices: ['linear', 'cosine'], default: 'linear', help: 'shape of the learning rate' },
    model: { type: 'path', exists: 'folder', help: 'folder of a checkpoint', short: 'm' },
    data: { type: 'path', help: 'table of text and label' },
    textColumn: { type: 'string', default: 'text', help: 'column of the text' },
    shift: { type: 'number', help: 'any number' },
    only: { type: 'list', help: 'part of a name' },
    predict: { type: 'boolean', help: 'predict only' },
    progress: { type: 'boolean', default: true, help: 'draw a bar' },
  },
  positionals: { name: 'TEXT', help: 'texts to classify', max: 2 },
} as const;
const parse = (...argv: string[]) => parseOptions(command, argv);

function fails(argv: string[], message: string): void {
  try {
    parse(...argv);
  } catch (error) {
    assert.instance(error, UsageError);
    assert.is((error as UsageError).message, `tune: ${message} (--help lists the options)`);
    return;
  }
  assert.unreachable(`${argv.join(' ')} was accepted`);
}

test('defaults, and undefined where there is none', () => {
  const { values, positionals } = parse();
  assert.equal(values, {
    lr: 5e-5,
    batchSize: 32,
    schedule: 'linear',
    model: undefined,
    data: undefined,
    textColumn: 'text',
    shift: undefined,
    only: [],
    predict: false,
    progress: true,
  });
  assert.equal(positionals, []);
  // The types are those of the spec.
  const lr: number = values.lr;
  const schedule: 'linear' | 'cosine' = values.schedule;
  const model: string | undefined = values.model;
  assert.equal([lr, schedule, model], [5e-5, 'linear', undefined]);
});

test('every way to write a value', () => {
  const { values, positionals } = parse(
    ...['--lr=1e-3', '-b', '8', '--schedule', 'cosine', '--predict', '--no-progress', '--shift', '-2.5', '-m', '.'],
    ...['a text', '--text-column=body', '--', '--not-a-flag'],
  );
  assert.equal(values, {
    lr: 1e-3,
    batchSize: 8,
    schedule: 'cosine',
    model: '.',
    data: undefined,
    textColumn: 'body',
    shift: -2.5,
    only: [],
    predict: true,
    progress: false,
  });
  assert.equal(positionals, ['a text', '--not-a-flag']);
  assert.is(parse('--lr', '0.5', '--lr', '.25').values.lr, 0.25, 'the last of a repeated flag counts');
  assert.equal(parse('--only', 'a', '--only=b').values.only, ['a', 'b'], 'a list takes all');
  assert.is(parse('--predict=true').values.predict, true);
  assert.is(parse('--progress=false').values.progress, false);
});

test('mistakes are named with the mend', () => {
  fails(['--batchsize', '8'], 'unknown flag --batchsize; did you mean --batch-size?');
  fails(['--scheduel=cosine'], 'unknown flag --scheduel; did you mean --schedule?');
  fails(['--xyzzy'], 'unknown flag --xyzzy');
  fails(['-z'], 'unknown flag -z');
  fails(['--no-lr'], 'unknown flag --no-lr');
  fails(['--lr'], '--lr needs a value: --lr NUMBER');
  fails(['--lr', '--predict'], '--lr needs a value: --lr NUMBER');
  fails(['--lr', 'fast'], '--lr must be a number, got "fast"');
  fails(['--lr='], '--lr must be a number, got ""');
  fails(['--lr', 'NaN'], '--lr must be a number, got "NaN"');
  fails(['--lr', '0x10'], '--lr must be a number, got "0x10"');
  fails(['--lr', '1e999'], '--lr must be a number, got "1e999"');
  fails(['--lr', '2'], '--lr must be from 0 to 1, got 2');
  fails(['-b', '0'], '-b must be 1 or more, got 0');
  fails(['--batch-size', '1.5'], '--batch-size must be a whole number, got 1.5');
  fails(['--schedule', 'step'], '--schedule must be one of linear, cosine, got "step"');
  fails(['--text-column='], '--text-column needs a value, got an empty string');
  fails(['--predict=maybe'], '--predict is a switch: write --predict or --predict=false, not --predict=maybe');
  fails(['--model', 'no-such-folder'], '--model: there is no folder no-such-folder');
  fails(['--model', 'package.json'], '--model: package.json is a file, a folder is needed');
  fails(['a', 'b', 'c'], 'unexpected argument "c"');
});

test('required options and positionals', () => {
  const strict = {
    name: 'x',
    summary: '',
    options: { out: { type: 'path', required: true, help: 'where' } },
    positionals: { name: 'FILE', help: 'input', min: 1, max: 1 },
  } as const;
  assert.throws(() => parseOptions(strict, ['a']), 'x: --out is required: --out PATH (--help lists the options)');
  assert.throws(() => parseOptions(strict, ['--out', 'o']), 'x: FILE is missing');
  const { values, positionals } = parseOptions(strict, ['--out', 'o', 'f']);
  const out: string = values.out;
  assert.equal([out, positionals], ['o', ['f']]);
  assert.throws(() => parseOptions({ name: 'y', summary: '', options: {} }, ['f']), 'y: unexpected argument "f"');
});

test('--help wins over mistakes and gives an aligned page', () => {
  for (const argv of [['--help'], ['-h'], ['--bogus', '--help']]) {
    assert.throws(
      () => parse(...argv),
      (error: unknown) => error instanceof HelpRequest && error.message === usagePage(command),
    );
  }
  assert.is(
    usagePage(command),
    [
      'tune: fits a classifier',
      '',
      'Usage: npx tsx train/tune.ts [options] [TEXT]...',
      '',
      '  TEXT                    texts to classify',
      '',
      'Options:',
      '      --lr NUMBER         peak learning rate (from 0 to 1; default 0.00005)',
      '  -b, --batch-size INT    examples a step (1 or more; default 32)',
      '      --schedule NAME     shape of the learning rate (one of linear, cosine; default linear)',
      '  -m, --model PATH        folder of a checkpoint',
      '      --data PATH         table of text and label',
      '      --text-column TEXT  column of the text (default text)',
      '      --shift NUMBER      any number',
      '      --only TEXT         part of a name',
      '      --predict           predict only',
      '      --[no-]progress     draw a bar (default true)',
      '  -h, --help              print this page',
    ].join('\n'),
  );
});

test('deliberate errors are one line, bugs keep their stack', () => {
  assert.is(describeError(new Error('data.csv:3: no column "label"')), 'data.csv:3: no column "label"');
  assert.is(describeError(new Error('\x1b[2J\x9b1m\u202e')), '\\x1b[2J\\x9b1m\\u202e');
  assert.is(describeError('\x1b[2J'), '\\x1b[2J');
  assert.throws(
    () => parseOptions({ name: 'x', summary: '', options: {} }, [`--a\r\n${'b'.repeat(9999)}`]),
    ({ message }: Error) => /unknown flag --a\\r\\nb/.test(message) && message.length < 700,
  );
  assert.is(
    describeError(new Error('shader failed\nline 2\nline 3')),
    'shader failed (TAPEFORM_DEBUG=1 shows 2 more lines)',
  );
  assert.match(describeError(new TypeError('x is undefined')), /TypeError: x is undefined\n\s+at /);
  assert.is(describeError('text'), 'text');
});

/** Runs a script body under `main` in a process of its own. */
function run(body: string, args: string[] = [], env: Record<string, string> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'cli-'));
  try {
    const cli = new URL('../../train/cli/cli.ts', import.meta.url).href;
    writeFileSync(
      join(folder, 'script.mts'),
      `import { main, parseOptions } from '${cli}';\nmain(async () => {${body}});\n`,
    );
    const repository = fileURLToPath(new URL('../..', import.meta.url));
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--import', 'tsx', join(folder, 'script.mts'), ...args],
      { cwd: repository, encoding: 'utf8', env: { ...process.env, TAPEFORM_DEBUG: '', ...env } },
    );
    return { status, stdout, stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('main exits 0, 2 and 1 and says why', () => {
  const body = `
    const { values } = parseOptions({ name: 'tune', summary: 's', options: { food: { type: 'int', help: 'h' } } });
    if (values.food === 1) throw new Error('the shelf is empty; fill it');
    if (values.food === 2) (await import('node:fs')).readFileSync('no-such-file');
    if (values.food === 3) null.field;
    console.log('ran');`;
  assert.equal(run(body), { status: 0, stdout: 'ran\n', stderr: '' });
  assert.equal(run(body, ['--foo', '1']), {
    status: 2,
    stdout: '',
    stderr: 'tune: unknown flag --foo; did you mean --food? (--help lists the options)\n',
  });
  const help = run(body, ['--help']);
  assert.is(help.status, 0);
  assert.match(help.stdout, /^tune: s\n\nUsage: tune \[options\]\n/);
  assert.equal(run(body, ['--food', '1']), { status: 1, stdout: '', stderr: 'the shelf is empty; fill it\n' });
  const missing = run(body, ['--food', '2']);
  assert.is(missing.status, 1);
  assert.is(missing.stderr, "ENOENT: no such file or directory, open 'no-such-file'\n");
  const bug = run(body, ['--food', '3']);
  assert.is(bug.status, 1);
  assert.match(bug.stderr, /TypeError: .*\n\s+at /);
  const debug = run(body, ['--food', '1'], { TAPEFORM_DEBUG: '1' });
  assert.match(debug.stderr, /Error: the shelf is empty; fill it\n\s+at /);
});

/** A stream that keeps what was written; as a terminal it has a width. */
function capture(columns?: number): { stream: OutputStream; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  if (columns) Object.assign(stream, { isTTY: true, columns });
  return { stream, text: () => text };
}

/**
 * What a terminal shows after the given output: carriage return, "erase line", "erase to the right" and "go
 * to column 1".
 */
function screen(output: string): string[] {
  const lines = [''];
  let column = 0;
  for (const [token] of output.matchAll(/\x1b\[\d*[A-Z]|\n|\r|[^\x1b\n\r]+/g)) {
    const at = lines.length - 1;
    if (token === '\n') {
      lines.push('');
      column = 0;
    } else if (token === '\r' || token === '\x1b[1G') column = 0;
    else if (token === '\x1b[2K') lines[at] = '';
    else if (token === '\x1b[0K') lines[at] = lines[at]!.slice(0, column);
    else if (token.startsWith('\x1b')) throw new Error(`unexpected control sequence ${JSON.stringify(token)}`);
    else {
      lines[at] = lines[at]!.padEnd(column).slice(0, column) + token + lines[at]!.slice(column + token.length);
      column += token.length;
    }
  }
  return lines;
}

test('progress prints plain lines every few seconds where there is no terminal', () => {
  const { stream, text } = capture();
  let time = 0;
  const bar = progress({ total: 10, stream, interval: 5, now: () => time });
  for (let step = 1; step <= 10; step++) {
    time += 2000;
    bar.update(step, { label: 'epoch 1/1', loss: 1 / step, lr: step === 10 ? 0 : 5e-5, tokens: 50_000 });
  }
  bar.stop();
  bar.stop();
  assert.equal(text().split('\n'), [
    'epoch 1/1 step 1/10 10%  loss 1.0000  lr 5.0e-5',
    'epoch 1/1 step 4/10 40%  loss 0.2500  lr 5.0e-5  25.0k tokens/s  12s left',
    'epoch 1/1 step 7/10 70%  loss 0.1429  lr 5.0e-5  25.0k tokens/s  6s left',
    'epoch 1/1 step 10/10 100%  loss 0.1000  lr 0  25.0k tokens/s',
    '',
  ]);
});

test('progress over bytes goes through stages, each with a total and rates of its own', () => {
  const { stream, text } = capture();
  let time = 0;
  const bar = progress({ total: 1, unit: 'byte', stream, interval: 0, now: () => time });
  const update = (step: number, label: string, total: number, tokens?: number): void => {
    bar.update(step, { label, total, tokens });
    time += 2000;
  };
  update(1e6, 'clean', 10e6);
  update(5e6, 'clean', 10e6);
  update(1e6, 'tokenize', 4e6, 100);
  update(3e6, 'tokenize', 4e6, 50_000);
  bar.stop();
  assert.equal(text().split('\n'), [
    'clean 1.0/10.0 MB 10%',
    'clean 5.0/10.0 MB 50%  2.0 MB/s  3s left',
    'tokenize 1.0/4.0 MB 25%',
    'tokenize 3.0/4.0 MB 75%  1.0 MB/s  25.0k tokens/s  1s left',
    '',
  ]);
});

test('progress on a terminal keeps other output whole, above the bar', () => {
  const err = capture(90);
  const out = capture(90);
  const bar = progress({ total: 4, initial: 1, stream: err.stream, others: [out.stream] });
  try {
    bar.update(2, { loss: 0.5 });
    out.stream.write('evaluation: ');
    out.stream.write('accuracy 0.91\n');
    assert.match(screen(err.text()).at(-1)!, /^\[=+-+\] step 2\/4 50%  loss 0\.5000/, 'the bar stands below the line');
    err.stream.write(Buffer.from('a warning\nin two lines\n'));
    assert.match(screen(err.text()).at(-1)!, /^\[=+-+\] step 2\/4 50%  loss 0\.5000/, 'also where it did not change');
    bar.update(3, { loss: 0.25 });
    bar.update(4);
    out.stream.write('no newline');
  } finally {
    bar.stop();
  }
  out.stream.write('after\n');
  assert.equal(screen(err.text()), [
    'evaluation: accuracy 0.91',
    'a warning',
    'in two lines',
    'no newline',
    `[${'='.repeat(30)}] step 4/4 100%  loss 0.2500`,
    '',
  ]);
  assert.is(out.text(), 'after\n', 'the stream is given back');
});

test('progress leaves a redirected stdout alone and fits narrow terminals', () => {
  const err = capture(30);
  const out = capture();
  const bar = progress({ total: 100, stream: err.stream, others: [out.stream] });
  bar.update(50, { label: 'epoch 1/3', loss: 0.5, lr: 1e-4 });
  out.stream.write('result\n');
  bar.stop();
  assert.is(out.text(), 'result\n');
  assert.ok(screen(err.text()).every((line) => line.length < 30));
});

test('duration', () => {
  assert.equal([0.4, 59.4, 59.6, 185, 7830].map(duration), ['0s', '59s', '1m 00s', '3m 05s', '2h 10m']);
});

test('presets and files of options: flags win over the file, the file over the preset; all are checked', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tapeform-cli-'));
  const file = (name: string, text: string): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    return path;
  };
  const withPresets = { ...command, presets: { small: { batchSize: 4, lr: 0.5, predict: true }, large: { lr: 1 } } };
  const read = (...argv: string[]) => parseOptions(withPresets, argv);
  try {
    assert.is(read('--preset', 'small').values.batchSize, 4);
    const config = file('run.json', '{"lr": 0.25, "only": ["a", "b"], "predict": false}');
    const { values, positionals } = read('--batch-size', '8', `--config=${config}`, '--preset=small', 'a text');
    assert.equal([values.batchSize, values.lr, values.predict, values.only], [8, 0.25, false, ['a', 'b']]);
    assert.equal(positionals, ['a text']);
    assert.equal(read('--', '--preset').positionals, ['--preset']);
    const failing: readonly (readonly [argv: string[], pattern: RegExp])[] = [
      [['--preset', 'tiny'], /--preset must be one of small, large, got "tiny"/],
      [['--preset'], /--preset needs a value/],
      [['--config', join(folder, 'none.json')], /--config: there is no file/],
      [['--config', file('broken.json', '{"lr": ')], /--config: .*broken\.json is not valid JSON/],
      [['--config', file('list.json', '[1]')], /must hold one object of options/],
      [['--config', file('slip.json', '{"batchsize": 4}')], /unknown flag --batchsize; did you mean --batch-size\?/],
      [['--config', file('range.json', '{"lr": 2}')], /--lr must be from 0 to 1, got 2/],
    ];
    for (const [argv, pattern] of failing) assert.throws(() => read(...argv), pattern);
    assert.match(usagePage(withPresets), /--preset NAME +values for many options \(one of small, large\)/);
    assert.throws(() => parse('--preset', 'small'), /unknown flag --preset/);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
