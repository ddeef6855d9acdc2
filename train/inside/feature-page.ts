// Features of a sparse autoencoder as a page: a list to choose from, and the texts that each is active on.
import { escapeHtml } from '../../common/markup.ts';
import { htmlPage } from '../report/html-page.ts';
import { tableHtml } from '../report/page.ts';
import type { Feature, FeatureExample } from './features.ts';

/** The token on which an example's feature is most active, with some before it. */
export const shortExample = ({ tokens, at }: FeatureExample, before = 3): string =>
  `${tokens.slice(Math.max(0, at - before), at).join('')}[${tokens[at]!}]`;

/**
 * Features as one HTML file that needs no other and no network: those that are ever active in a list, by
 * strength, frequency or number, or those whose texts hold a word; of the chosen one its texts, each word the
 * darker the more active the feature is on it, with the values under the pointer and by the arrow keys; a
 * table of all. `facts`: lines about the autoencoder. Error, one line: no feature is ever active.
 */
export function featurePage(features: readonly Feature[], facts: readonly string[], title: string): string {
  const alive = features.filter(({ examples }) => examples.length > 0);
  if (alive.length === 0) throw new Error('featurePage: no feature is active on any token; train for longer');
  const rows = alive.map(({ number, share, most, examples }) => [
    ...[`${number}`, `${(100 * share).toFixed(2)}%`, most.toFixed(2)],
    examples
      .slice(0, 3)
      .map((example) => shortExample(example))
      .join('\n'),
  ]);
  const body = `<ul class="facts">${facts.map((fact) => `<li>${escapeHtml(fact)}</li>`).join('')}</ul>
<noscript><p>Features are chosen by a script, which this browser does not run; the table below has them all.</p>
</noscript>
<div class="choices"><label>order <select id="order"><option value="most">strongest first</option>
<option value="share">most frequent first</option><option value="rare">rarest first</option>
<option value="number">by number</option></select></label>
<label>with the word <input id="find" type="search" autocomplete="off"></label></div>
<div class="pair"><div><label for="list">features <small id="count"></small></label>
<select id="list" size="14"></select></div>
<section aria-labelledby="name"><h2 id="name"></h2><p id="about"></p><div id="texts"></div></section></div>
<p class="hint">Arrow keys choose a feature in the list. Tab to a text, then move from word to word by the arrow
keys.</p>
<details><summary>All features</summary>${tableHtml(
    'all features',
    ['feature', 'active on', 'largest', 'strongest on'],
    rows,
  )}</details>`;
  // Each token of the vocabulary stands once.
  const numbers = new Map<string, number>();
  const numberOf = (token: string): number => {
    if (!numbers.has(token)) numbers.set(token, numbers.size);
    return numbers.get(token)!;
  };
  const list = alive.map(({ number, share, most, examples }) => ({
    ...{ number, share: Number(share.toPrecision(4)), most: Number(most.toPrecision(4)) },
    texts: examples.map(({ tokens, values, at }) => ({
      at,
      tokens: tokens.map(numberOf),
      values: values.map((value) => Number(value.toFixed(2))),
    })),
  }));
  const json = JSON.stringify({ tokens: [...numbers.keys()], list }).replaceAll('<', '\\u003c');
  return htmlPage({ title, body, style, script: `const data = ${json};\n${script}` });
}

const style = `
main { max-width: 80rem; } :root { --most: .8; }
@media (prefers-color-scheme: dark) { :root { --most: .6; } }
.facts { padding-left: 1.2rem; } .choices { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; margin: .75rem 0; }
select, input[type=search] { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--line);
  border-radius: .25rem; padding: .15rem .4rem; min-height: 2rem; max-width: 100%; }
.pair { display: grid; grid-template-columns: minmax(0, 22rem) minmax(0, 1fr); gap: 1rem 2rem; }
#list { width: 100%; margin-top: .25rem; } #list option { padding: .1rem .2rem; white-space: pre; }
.pair h2 { margin-top: 0; } .pair section { min-width: 0; }
.text { margin: .5rem 0; padding: .35rem .5rem; border: 1px solid var(--line); border-radius: .4rem; line-height: 1.8;
  overflow-wrap: anywhere; white-space: pre-wrap; }
.text span { border-radius: .2rem; background: rgb(var(--for) / calc(var(--most) * var(--share))); }
.text span.most { border-bottom: 2px solid var(--ink); }
.text span.here { outline: 2px solid var(--ink); }
.hint { font-size: .875rem; } details .scroll { max-height: 24rem; overflow: auto; } td { text-align: left; }
@media (max-width: 700px) { .pair { grid-template-columns: minmax(0, 1fr); } }
`;

const script = `
const $ = (id) => document.getElementById(id);
const say = (text) => { $('said').textContent = text; };
const words = (text) => text.tokens.map((token) => data.tokens[token]);
const orders = {
  most: (a, b) => b.most - a.most, share: (a, b) => b.share - a.share, rare: (a, b) => a.share - b.share,
  number: (a, b) => a.number - b.number,
};
const made = (tag, fields, ...children) => {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...children);
  return element;
};
const percent = (share) => (100 * share).toFixed(2) + '%';
const word = (text) => words(text)[text.at].trim() || '␣';
const show = () => {
  const feature = data.list.find(({ number }) => String(number) === $('list').value);
  $('name').textContent = feature ? 'Feature ' + feature.number : 'No feature';
  $('about').textContent = feature
    ? 'Active on ' + percent(feature.share) + ' of the tokens, up to ' + feature.most.toFixed(2) + '.' : '';
  say(feature ? 'feature ' + feature.number + ', strongest on ' + word(feature.texts[0]) : 'no feature');
  $('texts').replaceChildren(...(feature?.texts ?? []).map((text) => {
    const line = made('p', { className: 'text', tabIndex: 0 });
    line.setAttribute('role', 'group');
    line.setAttribute('aria-label', 'text, words by arrow keys');
    const spans = words(text).map((token, t) => {
      const span = made('span', { textContent: token, className: t === text.at ? 'most' : '' });
      span.style.setProperty('--share', Math.min(1, text.values[t] / feature.most).toFixed(3));
      return span;
    });
    let here = -1;
    const choose = (t) => {
      document.querySelector('.text span.here')?.classList.remove('here');
      here = t;
      spans[t].classList.add('here');
      say((spans[t].textContent.trim() || 'space') + ': ' + text.values[t].toFixed(2));
    };
    line.append(...spans);
    line.addEventListener('mouseover', ({ target }) => { if (spans.includes(target)) choose(spans.indexOf(target)); });
    line.addEventListener('click', ({ target }) => { if (spans.includes(target)) choose(spans.indexOf(target)); });
    line.addEventListener('focus', () => { if (here < 0) choose(text.at); });
    line.addEventListener('keydown', (event) => {
      const move = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      choose(Math.max(0, Math.min(spans.length - 1, (here < 0 ? text.at : here) + move)));
    });
    return line;
  }));
};
const fill = () => {
  const wanted = $('find').value.trim().toLowerCase();
  const found = data.list
    .filter(({ texts }) => texts.some((text) => word(text).toLowerCase().includes(wanted)))
    .sort(orders[$('order').value]);
  const before = $('list').value;
  $('list').replaceChildren(...found.map(({ number, share, texts }) => {
    const names = [...new Set(texts.map(word))].slice(0, 4).join(' ');
    return new Option(String(number).padEnd(5) + percent(share).padStart(7) + '  ' + names, number);
  }));
  $('list').value = found.some(({ number }) => String(number) === before) ? before : String(found[0]?.number ?? '');
  $('count').textContent = found.length + ' of ' + data.list.length;
  show();
};
$('order').addEventListener('change', fill);
$('find').addEventListener('input', fill);
$('list').addEventListener('change', show);
fill();
document.documentElement.dataset.ready = 'yes';
`;
