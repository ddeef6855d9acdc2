import { escapeHtml } from '../../common/markup.ts';
import { htmlPage } from '../report/html-page.ts';
import { describeTarget } from './explain.ts';
import type { Explanation } from './explain.ts';

/** Explanations of one text and target, by different methods. */
type SameText = readonly [Explanation, ...Explanation[]];

/**
 * Explanations as one HTML file that needs no other: texts whose words stand on colours, with a choice among
 * the methods that a text was explained by. A word's score shows under the pointer, and at the words that the
 * arrow keys lead to; a table has them all. Orange is for the target and blue against it, which the
 * colour-blind tell apart; lines under the words, whole or dashed, say the same. Dark where the reader's
 * system is.
 *
 * @example
 * const { model, tokenizer } = await pipeline('text-classification');
 * const explanation = await explain(model, tokenizer, 'Win a prize', { method: 'gradient-x-input' });
 * await saveFiles([{ path: 'explanation.html', data: explanationPage([explanation]) }]);
 */
export function explanationPage(explanations: readonly Explanation[], title = 'Explanation'): string {
  const texts = byText(explanations);
  const methods = [...new Set(explanations.map(({ method }) => method))];
  const choice =
    methods.length < 2
      ? ''
      : `<fieldset><legend>Method</legend>${methods
          .map((method, i) => {
            const input = `<input type="radio" name="method" value="${method}"${i === 0 ? ' checked' : ''}>`;
            return `<label>${input} ${method}</label>`;
          })
          .join('\n')}</fieldset>`;
  const body = `<p class="key"><span class="token" style="--share:.9">for</span>
<span class="token against" style="--share:-.9">against</span> the target; the stronger the
colour, the more a word counts. Tab to a text, then move by the arrow keys.</p>
${choice}
${texts.map(section).join('\n')}`;
  return htmlPage({ title, body, style, script });
}

function byText(explanations: readonly Explanation[]): SameText[] {
  const groups = new Map<string, [Explanation, ...Explanation[]]>();
  for (const explanation of explanations) {
    const key = JSON.stringify([explanation.texts, explanation.target]);
    const group = groups.get(key);
    if (group) group.push(explanation);
    else groups.set(key, [explanation]);
  }
  return [...groups.values()];
}

/** A text with the scores of all of its methods. */
function section(same: SameText): string {
  const [first] = same;
  const { scale, output, texts, tokens } = first;
  const largest = same.map(({ scores }) => Math.max(...scores.map(Math.abs), Number.MIN_VALUE));
  const scoresOf = (t: number): string => same.map(({ scores }) => scores[t]!.toPrecision(4)).join(' ');
  const sharesOf = (t: number): string => same.map(({ scores }, i) => (scores[t]! / largest[i]!).toFixed(3)).join(' ');
  const lines = texts.map((text, side) => {
    let [html, at] = ['', 0];
    for (const [t, { text: own, start, end }] of tokens.entries()) {
      if (own !== side || end <= at) continue;
      const from = Math.max(start, at);
      const piece = text.slice(from, end);
      const space = piece.length - piece.trimStart().length;
      const share = first.scores[t]! / largest[0]!;
      html +=
        plain(text.slice(at, from + space)) +
        `<span class="token${share < 0 ? ' against' : ''}" style="--share:${share.toFixed(3)}" ` +
        `data-shares="${sharesOf(t)}" data-scores="${scoresOf(t)}">${plain(piece.slice(space))}</span>`;
      at = end;
    }
    html += plain(text.slice(at));
    return `<p class="text" tabindex="0" role="group" aria-label="text, words by arrow keys">${html}</p>`;
  });
  const rows = [...tokens.keys()]
    .filter((t) => tokens[t]!.text >= 0)
    .map((t) => {
      const { text, start, end, token } = tokens[t]!;
      const word = texts[text]!.slice(start, end).trim() || token;
      const cells = same.map(({ scores }) => `<td>${scores[t]!.toFixed(4)}</td>`);
      return `<tr><th scope="row">${escapeHtml(word)}</th>${cells.join('')}</tr>`;
    });
  const sums = same.map(({ delta }) => (delta === undefined ? '' : delta.toExponential(1)));
  return `<section data-methods="${same.map(({ method }) => method).join(' ')}">
<h2>${escapeHtml(describeTarget(first))} <small>${scale} ${output.toFixed(4)}</small></h2>
${lines.join('\n')}
<details><summary>All scores</summary><div class="scroll" tabindex="0" role="region" aria-label="all scores"><table>
<thead><tr><th scope="col">token</th>${same.map(({ method }) => `<th scope="col">${method}</th>`).join('')}</tr></thead>
<tbody>${rows.join('\n')}</tbody>
<tfoot><tr><th scope="row">delta</th>${sums.map((sum) => `<td>${sum}</td>`).join('')}</tr></tfoot>
</table></div></details></section>`;
}

/** A text's own lines stay lines. */
const plain = (text: string): string => text.split('\n').map(escapeHtml).join('<br>');

// In the dark, a stronger colour would be too near to that of the letters.
const style = `
:root { --most: .75; } @media (prefers-color-scheme: dark) { :root { --most: .55; } }
.text { line-height: 2; margin: 0; padding: .25rem; overflow-wrap: anywhere; border-radius: .25rem; }
.token { --strength: calc(var(--most) * max(var(--share), -1 * var(--share))); border-radius: .2rem; padding: .1rem 0;
  background: rgb(var(--for) / var(--strength)); border-bottom: 2px solid rgb(var(--for) / var(--strength)); }
.token.against { background: rgb(var(--against) / var(--strength));
  border-bottom: 2px dashed rgb(var(--against) / calc(1.3 * var(--strength))); }
.key .token { padding: .1rem .4rem; }
.token:hover, .token.here { outline: 2px solid var(--ink); outline-offset: 1px; }
`;

const script = `
const said = document.querySelector('#said');
const sections = [...document.querySelectorAll('section')];
let method = document.querySelector('input[name=method]:checked')?.value ?? sections[0]?.dataset.methods.split(' ')[0];
const at = (token, key) => {
  const place = token.closest('section').dataset.methods.split(' ').indexOf(method);
  return token.dataset[key].split(' ')[place] ?? 0;
};
let here = null;
const say = (token) => {
  here?.classList.remove('here');
  here = token;
  token.classList.add('here');
  const score = Number(at(token, 'scores'));
  said.textContent = token.textContent + ': ' + (score < 0 ? '' : '+') + score.toFixed(4);
};
const paint = () => {
  for (const token of document.querySelectorAll('section .token')) {
    token.style.setProperty('--share', at(token, 'shares'));
    token.classList.toggle('against', at(token, 'shares') < 0);
  }
  if (here) say(here);
};
for (const input of document.querySelectorAll('input[name=method]'))
  input.addEventListener('change', () => { method = input.value; paint(); });
document.addEventListener('mouseover', ({ target }) => { if (target.matches('section .token')) say(target); });
document.addEventListener('click', ({ target }) => { if (target.matches('section .token')) say(target); });
for (const text of document.querySelectorAll('.text')) {
  const tokens = [...text.querySelectorAll('.token')];
  const move = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };
  text.addEventListener('focus', () => { if (tokens.length > 0 && !tokens.includes(here)) say(tokens[0]); });
  text.addEventListener('keydown', (event) => {
    if (!(event.key in move) || tokens.length === 0) return;
    event.preventDefault();
    const next = tokens.indexOf(here) + move[event.key];
    say(tokens[Math.max(0, Math.min(tokens.length - 1, next))]);
  });
}
`;
