import { padText, printable, printableLines } from '../../common/printable.ts';
import { alignTable } from '../../common/text-table.ts';
import { describeTarget } from './explain.ts';
import type { Explanation } from './explain.ts';

/** Backgrounds of a terminal's 256 colours, pale to strong, under black: orange for, blue against. */
const colours = { for: [230, 223, 215, 208], against: [195, 153, 111, 75] } as const;

export interface ShowOptions {
  /** Colour the words of the text; without it the table alone tells. */
  readonly colours: boolean;
  /** Tokens in the table, those that count most; default 10. */
  readonly top?: number;
}

/**
 * An explanation for a terminal: what was explained, the text with each token on a colour for how much it
 * counts, and a table of the tokens that count most.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const explanation = await explain(model, tokenizer, 'Win a prize', { method: 'gradient-x-input' });
 * console.log(showExplanation(explanation, { colours: true, top: 3 }));
 */
export function showExplanation(explanation: Explanation, { colours: isColoured, top = 10 }: ShowOptions): string {
  const { method, scale, texts, tokens, scores, errors, output, baseline, delta } = explanation;
  const largest = Math.max(...scores.map(Math.abs));
  const about = [
    `${method}: ${scale} of ${printable(describeTarget(explanation))} ${output.toFixed(4)}`,
    ...(baseline === undefined ? [] : [`baseline ${baseline.toFixed(4)}`]),
    ...(delta === undefined ? [] : [`delta ${delta.toExponential(1)}`]),
  ].join(', ');
  const order = [...tokens.keys()]
    .filter((t) => tokens[t]!.text >= 0)
    .sort((a, b) => Math.abs(scores[b]!) - Math.abs(scores[a]!))
    .slice(0, top);
  const rows = order.map((t) => [
    printable(wordOf(explanation, t)),
    signed(scores[t]!),
    ...(errors ? [`± ${errors[t]!.toFixed(4)}`] : []),
    bar(largest > 0 ? scores[t]! / largest : 0),
  ]);
  const head = ['token', 'score', ...(errors ? ['error'] : []), 'against | for'];
  const lines = texts.map((text, side) =>
    isColoured ? coloured(text, side, explanation, largest) : printableLines(text),
  );
  return [about, '', ...lines, '', alignTable(head, rows, new Set([1]))].join('\n');
}

/** What a token stands for in its text. */
function wordOf({ texts, tokens }: Explanation, t: number): string {
  const { token, text, start, end } = tokens[t]!;
  return texts[text]!.slice(start, end).trim() || token;
}

const signed = (score: number): string => `${score < 0 ? '-' : '+'}${Math.abs(score).toFixed(4)}`;

/** A share of -1 to 1 as a bar to the left or to the right of the middle. */
function bar(share: number): string {
  const width = 8;
  const length = Math.round(Math.abs(share) * width);
  const drawn = '#'.repeat(length);
  return share < 0 ? `${padText(drawn, width, 'right')} |` : `${' '.repeat(width)} | ${drawn}`;
}

/** A text whose tokens stand on colours; the escapes are ours, those of the text are spelt out. */
function coloured(text: string, side: number, { tokens, scores }: Explanation, largest: number): string {
  let [shown, at] = ['', 0];
  for (const [t, { text: own, start, end }] of tokens.entries()) {
    if (own !== side || end <= at) continue;
    const from = Math.max(start, at);
    const piece = text.slice(from, end);
    const space = piece.length - piece.trimStart().length; // some tokens begin with one
    shown += printableLines(text.slice(at, from + space));
    const share = largest > 0 ? scores[t]! / largest : 0;
    const levels = share < 0 ? colours.against : colours.for;
    const level = Math.min(levels.length - 1, Math.floor(Math.abs(share) * levels.length));
    const word = printableLines(piece.slice(space));
    shown += Math.abs(share) < 0.05 ? word : `\x1b[30;48;5;${levels[level]!}m${word}\x1b[0m`;
    at = end;
  }
  return shown + printableLines(text.slice(at));
}
