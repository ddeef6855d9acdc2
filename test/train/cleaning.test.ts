// Cleaning: each rule on a text it is for and on one it is not for; counts and examples in the report.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  composed,
  withoutBoilerplate,
  withoutControls,
  withoutHtml,
  withoutMojibake,
  withPlainSpace,
} from '../../train/data/cleaning/changes.ts';
import { Cleaner, cleaningRules } from '../../train/data/cleaning/cleaner.ts';
import { LineCounter } from '../../train/data/cleaning/line-counter.ts';
import {
  duplicateNgramShare,
  repeatedLineShare,
  topNgramShare,
  wordNumbers,
} from '../../train/data/cleaning/text-facts.ts';
import type { CleaningOptions } from '../../train/data/cleaning/rule.ts';
import { Random } from '../../common/random.ts';

const test = suite('cleaning');

const PROSE =
  'It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want ' +
  'of a wife. However little known the feelings or views of such a man may be on his first entering a ' +
  'neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is considered ' +
  'as the rightful property of some one or other of their daughters.';

/** The name of the rule that drops a text, 'kept' where none does. */
function dropped(text: string, options: CleaningOptions = {}): string {
  const cleaner = new Cleaner(options);
  if (cleaner.clean({ text, source: 'a' }) !== null) return 'kept';
  return cleaner.report().rules.find(({ kind, documents }) => kind === 'drop' && documents > 0)!.name;
}

test('changes do what they say, and nothing to what is clean', () => {
  assert.is(withoutHtml('<p>a &lt; b</p><script>x()</script><br>c').trim().replace(/\n+/g, '\n'), 'a < b\nc');
  assert.is(withoutHtml('if a<b and c>d'), 'if a<b and c>d');
  assert.is(
    withoutMojibake('caf\u00c3\u00a9 \u00e2\u20ac\u0153hi\u00e2\u20ac\u009d \u00f0\u0178\u02dc\u20ac'),
    'caf\u00e9 \u201chi\u201d \u{1F600}',
  );
  assert.is(withoutMojibake('N\u00c3O \u00e0 la caf\u00e9 \u00c3\u0416'), 'N\u00c3O \u00e0 la caf\u00e9 \u00c3\u0416');
  assert.is(withoutControls('a\r\nb\rc\u2028d\u0000\u200b\u202e\ufeff\ud800\ufffde\tf'), 'a\nb\nc\nde\tf');
  assert.is(
    withoutControls('\u{1F468}\u200d\u{1F469} \u0645\u06cc\u200c\u062e'),
    '\u{1F468}\u200d\u{1F469} \u0645\u06cc\u200c\u062e',
  );
  assert.is(composed('e\u0301'), '\u00e9');
  assert.is(withPlainSpace('  a \t\u00a0b \n\n \n\nc\n'), 'a b\n\nc');
  const page =
    'Home | About Us | Contact\nThe whale surfaced.\nCopyright 2002 by Nobody. ' +
    'All rights reserved.\nShared line\nIt dived.';
  assert.is(
    withoutBoilerplate(page, (line) => line === 'Shared line'),
    'The whale surfaced.\nIt dived.',
  );
  assert.is(
    withoutBoilerplate('Home', () => true),
    'Home',
    'a text of one line stays',
  );
  assert.is(
    withoutBoilerplate('Home is where the heart is.\nNext we sailed on.', () => false),
    'Home is where the heart is.\nNext we sailed on.',
  );
  for (const change of [withoutHtml, withoutMojibake, withoutControls, composed, withPlainSpace])
    assert.is(change(PROSE), PROSE);
});

test('shares of repetition', () => {
  assert.is(repeatedLineShare(['a', 'b', 'a', 'a']), 0.5);
  assert.is(repeatedLineShare([]), 0);
  assert.is(topNgramShare(wordNumbers('aa bb cc aa bb dd'.split(' ')), 2), 8 / 12);
  assert.is(topNgramShare(wordNumbers('a b c d'.split(' ')), 2), 0);
  assert.is(duplicateNgramShare(wordNumbers('aa bb cc aa bb cc'.split(' ')), 3), 0.5);
  // The second and third run overlap: their characters count once.
  assert.is(duplicateNgramShare(wordNumbers('a a a a a'.split(' ')), 2), 0.8);
  assert.is(duplicateNgramShare(wordNumbers(['a']), 5), 0);
});

test('each quality rule drops what it is for', () => {
  const random = new Random(3);
  const letters = (count: number): string =>
    Array.from({ length: count }, () => String.fromCharCode(97 + random.int(26))).join('');
  const lines = (make: (i: number) => string): string => Array.from({ length: 12 }, (_, i) => make(i)).join('\n');
  const sentence = (i: number): string =>
    PROSE.split(' ')
      .slice(i, i + 9)
      .join(' ');
  const cases: Record<string, [string, CleaningOptions?]> = {
    empty: ['... !!! \u2014'],
    'too-short': ['Only four words here'],
    'too-long': [PROSE, { maxWords: 20 }],
    'lorem-ipsum': [`${PROSE} Lorem ipsum dolor sit amet.`],
    'mean-word-length': [Array.from({ length: 20 }, () => letters(14)).join(' ')],
    symbols: ['#one two #three four five #six seven eight nine ten'],
    'words-without-letters': ['total 1200 1300 1400 1500 -- 1600 == 1700 and 1800 more 1900 2000'],
    bullets: [lines((i) => `- ${sentence(i)}`)],
    ellipses: [
      lines((i) => `${sentence(3 * i)} and so on${i % 2 ? '...' : ''}`),
      { skip: ['symbols', 'repeated-5-grams', 'repeated-10-grams', 'top-2-gram'] },
    ],
    'repeated-lines': [lines((i) => sentence(5 * (i % 6)))],
    'top-2-gram': [
      Array.from({ length: 60 }, (_, i) => (i % 3 ? (i % 3 === 1 ? 'buy' : 'now') : letters(5))).join(' '),
    ],
    'repeated-5-grams': [`${PROSE} ${PROSE.slice(0, 120)} ${PROSE.slice(0, 120)}`],
    'replacement-characters': [`${PROSE}\ufffd\ufffd\ufffd`],
    language: [
      'Alle Menschen sind frei und gleich an W\u00fcrde und Rechten geboren. ' +
        'Sie sind mit Vernunft und Gewissen begabt und sollen einander im Geist der Br\u00fcderlichkeit ' +
        'begegnen. Jeder hat Anspruch auf die in dieser Erkl\u00e4rung verk\u00fcndeten Rechte und Freiheiten ' +
        'ohne irgendeinen Unterschied.',
      { languages: ['eng', 'fra'] },
    ],
    'stop-words': [Array.from({ length: 60 }, () => letters(6)).join(' '), { languages: ['eng'] }],
  };
  for (const [rule, [text, options]] of Object.entries(cases)) assert.is(dropped(text, options), rule);
  assert.is(dropped(PROSE), 'kept');
  assert.is(dropped(PROSE, { languages: ['eng'] }), 'kept');
  assert.is(
    dropped(
      '\u5929\u5730\u7384\u9ec4\uff0c\u5b87\u5b99\u6d2a\u8352\u3002' +
        '\u65e5\u6708\u76c8\u6603\uff0c\u8fb0\u5bbf\u5217\u5f20\u3002',
    ),
    'kept',
    'Chinese has no spaces to count words by',
  );
  assert.is(
    dropped('A short text in German: guten Tag.', { languages: ['fra'] }),
    'kept',
    'too little to judge its language',
  );
});

test('lines of many documents are counted in fixed memory, with their numbers folded', () => {
  const counter = new LineCounter();
  for (let i = 0; i < 40; i++) counter.add(`Page ${i} of 40\nThe text ${'x'.repeat(i)} of its own.\nTwice\nTwice`);
  for (let i = 0; i < 300; i++) counter.add('Everywhere\nreally');
  counter.add('One line alone');
  assert.is(counter.count('  page 7 of 40 '), 40);
  assert.is(counter.count('Twice'), 40, 'a document counts once');
  assert.is(counter.count('The text xxx of its own.'), 1);
  assert.is(counter.count('One line alone'), 0);
  assert.is(counter.count('everywhere'), 255);
  const cleaner = new Cleaner({ repeatedLines: 40 }, (line) => counter.count(line));
  assert.is(cleaner.clean({ text: `Page 3 of 40\n${PROSE}`, source: 'a' }), PROSE);
});

test('the report counts what was done and why, with the first example of each', () => {
  const cleaner = new Cleaner({ minWords: 3 });
  assert.is(cleaner.clean({ text: 'Plain words stay here.', source: 'a:1' }), 'Plain words stay here.');
  assert.is(cleaner.clean({ text: 'caf\u00c3\u00a9  au lait  for two', source: 'a:2' }), 'caf\u00e9 au lait for two');
  assert.is(cleaner.clean({ text: 'So short', source: 'a:3' }), null);
  assert.is(cleaner.clean({ text: 'Shorter', source: 'a:4' }), null);
  const { rules, ...counts } = cleaner.report();
  assert.equal(counts, { documents: 4, kept: 2, charactersBefore: 60, charactersAfter: 42 });
  assert.equal(
    rules.map(({ name }) => name),
    cleaningRules.map(({ name }) => name),
  );
  const of = (name: string) => rules.find((rule) => rule.name === name)!;
  assert.equal(of('mojibake').example, {
    source: 'a:2',
    what: '"caf\u00c3\u00a9  au lait  for two" -> "caf\u00e9  au lait  for two"',
  });
  assert.equal(
    [of('too-short').documents, of('too-short').example],
    [2, { source: 'a:3', what: '2 words: "So short"' }],
  );
  assert.equal([of('language').documents, of('language').example], [0, undefined]);
  const masking = new Cleaner({ minWords: 3, maskPersonalData: ['email', 'ip'] });
  const text = 'Write  to ann@example.org from 8.8.4.200';
  assert.is(masking.clean({ text, source: 'a:5' }), 'Write to [EMAIL] from [IP]');
  const told = JSON.stringify(masking.report());
  assert.ok(told.includes('[EMAIL]') && !told.includes('ann@'), 'what is masked is in no example');
  assert.is(cleaner.clean({ text: 'Write to ann@example.org now', source: 'a' }), 'Write to ann@example.org now');
  assert.throws(
    () => new Cleaner({ skip: ['nonsense'] }),
    'there is no rule "nonsense" to skip; the rules are replacement-characters, html',
  );
});

test.run();
