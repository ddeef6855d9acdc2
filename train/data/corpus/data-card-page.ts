import { codeSpan as code, escapeMarkdown as text } from '../../../common/markup.ts';
import type { CleaningReport } from '../cleaning/cleaner.ts';
import type { DuplicateReport } from '../duplicates/filter.ts';
import { splitNames } from '../split.ts';
import type { CorpusCard } from './data-card.ts';
import { histogramLines } from './length-histogram.ts';

const number = (value: number): string => value.toLocaleString('en-US');
const row = (...cells: readonly (string | number)[]): string =>
  `| ${cells.map((cell) => (typeof cell === 'number' ? number(cell) : cell)).join(' | ')} |`;
/** The data card of a prepared corpus as a page of Markdown. */
export function cardPage(card: CorpusCard): string {
  const { cleaning, duplicates, inputs, documentsRead, tokenizer, splits } = card;
  const present = splitNames.flatMap((name) => (splits[name] ? [{ name, ...splits[name] }] : []));
  return [
    '# Data card',
    '',
    `${number(documentsRead)} documents read from ` +
      `${inputs.map(({ name, size }) => `${text(name)} (${number(size)} bytes)`).join(', ')}.`,
    `Tokenised with a vocabulary of ${number(tokenizer.vocabSize)} (tokenizer ` +
      `${text(tokenizer.sha256.slice(0, 12))}). Options: ${code(JSON.stringify(card.options))}.`,
    '',
    '## Splits',
    '',
    '| split | documents | characters | tokens | tokens a document | longest | SHA-256 of the ids |',
    '|---|---:|---:|---:|---:|---:|---|',
    ...present.map(({ name, documents, characters, tokens, lengths, sha256 }) =>
      row(
        name,
        documents,
        characters,
        tokens,
        (tokens / documents).toFixed(1),
        lengths.longest,
        `${text(sha256.slice(0, 16))}...`,
      ),
    ),
    '',
    ...present.flatMap(({ name, lengths }) => [
      `Lengths of ${name}, in tokens:`,
      '',
      '```',
      histogramLines(lengths),
      '```',
      '',
    ]),
    ...(cleaning ? cleaningSection(cleaning) : []),
    ...(duplicates ? duplicatesSection(duplicates) : []),
    `Key ${text(card.key)}.`,
    '',
  ].join('\n');
}

/** Tells of the cleaning, with a row for each rule that did something. */
export function cleaningSection({
  documents,
  kept,
  charactersBefore,
  charactersAfter,
  rules,
}: CleaningReport): string[] {
  const table = (kind: 'change' | 'drop'): string[] =>
    rules
      .filter((rule) => rule.kind === kind && rule.documents > 0)
      .map(({ name, documents: count, about, example }) =>
        row(
          text(name),
          count,
          text(about),
          example ? `${text(example.source)}: ${code(example.what, { inTable: true })}` : '',
        ),
      );
  const idle = rules.filter((rule) => rule.documents === 0).map(({ name }) => name);
  return [
    '## Cleaning',
    '',
    `${number(kept)} of ${number(documents)} documents kept, ${number(charactersAfter)} of ` +
      `${number(charactersBefore)} characters.`,
    '',
    '| rule | documents | what | first example |',
    '|---|---:|---|---|',
    ...table('change').map((line) => line.replace('| ', '| changed: ')),
    ...table('drop').map((line) => line.replace('| ', '| dropped: ')),
    '',
    `Nothing to do for: ${text(idle.join(', ')) || 'none'}.`,
    '',
  ];
}

/** Tells of the duplicates that were found, with examples. */
export function duplicatesSection(report: DuplicateReport): string[] {
  const { documents, exact, near, groups, relatedDocuments, threshold, related, examples } = report;
  return [
    '## Duplicates',
    '',
    `Of ${number(documents)} documents ${number(exact)} were dropped as exact duplicates and ${number(near)} ` +
      `as near ones (overlap of three-word runs ${threshold} or more), in ${number(groups)} groups.`,
    `${number(relatedDocuments)} of those kept overlap with others by ${related} or more, and lie in one split ` +
      'with them.',
    '',
    ...(examples.length > 0
      ? [
          '| group of | overlap | kept | dropped |',
          '|---:|---:|---|---|',
          ...examples.map(({ size, similarity, kept, dropped }) =>
            row(
              size,
              similarity.toFixed(2),
              `${text(kept.source)}: ${code(kept.text, { inTable: true })}`,
              `${text(dropped.source)}: ${code(dropped.text, { inTable: true })}`,
            ),
          ),
          '',
        ]
      : []),
  ];
}
