// What comes from data (names of files, labels, texts, run.json) stays text on every page that is written.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DOMParser, parseHTML } from 'linkedom';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { codeBlock, codeSpan, escapeHtml, escapeMarkdown } from '../../common/markup.ts';
import { cardPage } from '../../train/data/corpus/data-card-page.ts';
import { modelCard } from '../../train/report/model-card.ts';
import { chartScript } from '../../train/report/chart-script.ts';
import { curvesSvg } from '../../train/report/plot.ts';
import { writeReport } from '../../train/report/run-report.ts';
import type { RunInfo } from '../../train/trainer/run-info.ts';
import { failure } from '../support/failure.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const test = suite('pages with hostile data');

let folder = '';
temporaryFolder(test, (made) => (folder = made));

const script = '<script>alert(1)</script>';
const hostile = `${script}"'&|\`\`\`\x1b[2J\n# heading\n---\n[link](javascript:x) ![i](x) <img src=x onerror=x>`;

const info: RunInfo = {
  name: hostile,
  command: hostile,
  identity: { seed: hostile, [hostile]: hostile },
  parameters: 1,
  adapter: hostile,
  driver: hostile,
  software: true,
  versions: { [hostile]: hostile },
  commit: hostile,
  started: hostile,
};
const step = { step: 1, loss: 1, losses: { [hostile]: 1 }, lr: 1, gradNorm: 1, tokens: 1, seconds: 1, time: 1 };
const evaluation = { step: 1, evaluation: { loss: 1, [hostile]: 1 }, seconds: 1, time: 1 };

/** Fails where data has become markup: tags, headings, rules, fences, or a control character. */
function harmless(markdown: string): void {
  const outside = markdown.replace(/^(`{3,})\n[^]*?^\1$/gm, '');
  assert.not.match(outside, /<[a-z/!]/i);
  assert.not.match(outside, /^# heading/m);
  assert.not.match(outside, /(?<!\\)\]\(/);
  assert.not.match(markdown, /[\0-\x09\x0b-\x1f\x7f-\x9f]/);
}

function writeRun(): void {
  writeFileSync(join(folder, 'run.json'), JSON.stringify(info));
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ architectures: [hostile] }));
  writeFileSync(join(folder, 'log.jsonl'), `${JSON.stringify(step)}\n${JSON.stringify(evaluation)}\n`);
}

test("a model's card", async () => {
  writeRun();
  const card = await modelCard(hostile, folder, hostile);
  harmless(card);
  assert.match(card, /&lt;script&gt;alert\(1\)&lt;\/script&gt;/);
  assert.is(card.match(/^---$/gm)!.length, 2 + 2); // the front matter, and two commands inside fences
  const [, frontMatter] = /^---\n([^]*?)\n---\n/.exec(card)!;
  assert.is(frontMatter, 'license: apache-2.0\nlanguage: en\nlibrary_name: transformers');
});

test("a fine-tuned model's card tells its data, its test and what it began as", async () => {
  writeRun();
  const path = join(folder, 'result.json');
  writeFileSync(path, JSON.stringify({ from: hostile, about: hostile, test: hostile }));
  harmless(await modelCard(hostile, folder, hostile));
  writeFileSync(path, JSON.stringify({ from: 'bert-small', about: 'data   mails', test: 'accuracy 0.9' }));
  const card = await modelCard('mine', folder, 'try it');
  assert.match(card, /parameters, fine-tuned from bert-small by tapeform/);
  assert.match(card, /## Data\n\n```\ndata {3}mails\n```\n\n## Test\n\n```\naccuracy 0\.9\n```/);
  assert.not.match(card, /perplexity/);
  writeFileSync(path, JSON.stringify({ about: 3 }));
  assert.match(await failure(modelCard('mine', folder, '')), /result\.json is no run's result \(about\)/);
});

test('a run.json that is none is one line', async () => {
  writeFileSync(join(folder, 'run.json'), JSON.stringify({ ...info, parameters: 'many' }));
  const text = await failure(modelCard('name', folder, ''));
  assert.match(text, /run\.json is no run's \(parameters: /);
  assert.not.match(text, /\n/);
});

test('the card of a corpus', () => {
  const lengths = { longest: 1, bins: [1] } as never;
  const split = { documents: 1, characters: 1, tokens: 1, lengths, sha256: hostile };
  const rule = {
    name: hostile,
    kind: 'drop',
    documents: 1,
    about: hostile,
    example: { source: hostile, what: hostile },
  };
  const text = { source: hostile, text: hostile };
  const card = {
    inputs: [{ name: hostile, size: 1 }],
    documentsRead: 1,
    tokenizer: { vocabSize: 1, sha256: hostile },
    options: { text: hostile },
    splits: { train: split },
    key: hostile,
    cleaning: { documents: 1, kept: 1, charactersBefore: 1, charactersAfter: 1, rules: [rule] },
    duplicates: {
      documents: 1,
      exact: 1,
      near: 1,
      groups: 1,
      relatedDocuments: 1,
      threshold: 1,
      related: 1,
      examples: [{ size: 1, similarity: 1, kept: text, dropped: text }],
    },
  };
  const page = cardPage(card as never);
  harmless(page.replace(/(?<!\\)`[^`\n]+`/g, 'code'));
  const cells = (line: string): number => line.split(/(?<!\\)\|/).length;
  const tables = page.split('\n\n').filter((part) => part.startsWith('|'));
  assert.is(tables.length, 3);
  for (const lines of tables.map((part) => part.split('\n'))) assert.is(new Set(lines.map(cells)).size, 1);
});

test('the report and the curves of a run', async () => {
  const score = { value: 1, low: 0, high: 1 };
  const sample = { text: hostile, answer: hostile, wanted: hostile, right: false };
  const scores = {
    of: hostile,
    tables: [{ title: hostile, columns: [hostile], rows: [{ name: hostile, scores: [score] }] }],
    confusion: { labels: [hostile], counts: [[1]] },
    calibration: { error: 1, bins: [{ confidence: 1, accuracy: 1, count: 1 }] },
    samples: [{ title: hostile, samples: [sample] }],
  };
  const result = { about: hostile, test: hostile, scores };
  await writeReport(folder, { info, steps: [step], evaluations: [evaluation], result });
  const html = readFileSync(join(folder, 'report.html'), 'utf8');
  const { document } = parseHTML(html);
  assert.is(document.querySelectorAll('img, a, [onerror], iframe, link').length, 0);
  const scripts = [...document.querySelectorAll('script')];
  const [own] = scripts.filter((node) => node.getAttribute('type') === null).map((node) => node.textContent);
  assert.is(own, chartScript.replace(/^ +/gm, ''), 'the only script that runs is the page’s own');
  const data = scripts.filter((node) => node.getAttribute('type') === 'application/json');
  assert.is(data.length, scripts.length - 1);
  for (const node of data) assert.not.match(node.textContent, /</);
  assert.not.match(html, /[\0-\x09\x0b-\x1f\x7f-\x9f]/);
  assert.ok(document.querySelector('h1')!.textContent.includes(script));
  const svg = readFileSync(join(folder, 'curves.svg'), 'utf8');
  assert.is(new DOMParser().parseFromString(svg, 'image/svg+xml').querySelectorAll('script, img').length, 0);
  const titled = curvesSvg({ title: hostile, yLabel: hostile, series: [{ name: hostile, points: [[1, 1]] }] });
  assert.not.match(titled, /<script|<img|\x1b/);
});

test('the escapes', () => {
  assert.is(escapeHtml(`<a href='"'>&`), '&lt;a href=&#39;&quot;&#39;&gt;&amp;');
  assert.is(escapeMarkdown('a_b *c* [d](e) `f` | g'), 'a\\_b \\*c\\* \\[d\\](e) \\`f\\` \\| g');
  for (const [text, shown] of [
    ['# a', '\\# a'],
    ['- a', '\\- a'],
    ['1. a', '1\\. a'],
    ['größe 1.5', 'größe 1.5'],
  ] as const)
    assert.is(escapeMarkdown(text), shown);
  assert.is(codeSpan('a`b|c\n'), "`a'b|c\\n`");
  assert.is(codeSpan('a|b', { inTable: true }), '`a\\|b`');
  assert.equal(codeBlock('a\n```\n````b'), ['`````', 'a', '```', '````b', '`````']);
});

test.run();
