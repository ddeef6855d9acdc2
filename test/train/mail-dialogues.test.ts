import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dialoguesIn, mailDialogues } from '../../train/data/mail-dialogues.ts';

const test = suite('dialogues of mails');

const cases: readonly (readonly [what: string, mail: string, dialogues: readonly (readonly string[])[]])[] = [
  [
    'what is quoted deeper was said earlier; who wrote is left out',
    'On Mon, Tom wrote:\n> Ann said:\n> > Is it on today?\n> No, it is not.\n\nWhy is it not?\n',
    [['Is it on today?', 'No, it is not.', 'Why is it not?']],
  ],
  [
    'line by line, each answer has its own question',
    'Hi Tom,\n\nTom wrote:\n> Is it on today?\n\nYes, it is on.\n\n> And who will come?\nAll of us\nwill come.\n',
    [
      ['Is it on today?', 'Yes, it is on.'],
      ['And who will come?', 'All of us will come.'],
    ],
  ],
  [
    'a quotation that goes back and forth: the last question and its answer',
    '>> Is it on today?\n> Yes, it is on.\n>> And who will come?\n> Nobody I know of.\nThen I will not.\n',
    [['And who will come?', 'Nobody I know of.', 'Then I will not.']],
  ],
  [
    'an answer above its question',
    'I will come too.\n\nAnn\n-- \nAnn Smith\n\n| Who will come today?\n',
    [['Who will come today?', 'I will come too. Ann']],
  ],
  [
    'signatures, list footers, PGP and whole mails are left out',
    '-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA1\n\n> Is it on today?\n> -- \n> Tom\nYes, it is on.\n' +
      '-- \nAnn, tel. 12\n-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----\n',
    [['Is it on today?', 'Yes, it is on.']],
  ],
  [
    'what is forwarded was not said by the author',
    '> Is it on today?\nYes, it is on.\n-----Original Message-----\nNo!',
    [['Is it on today?', 'Yes, it is on.']],
  ],
  [
    'turns of two words, and such as other programs quote, are none',
    '> Really?\nYes, it is on.\n\n> Tom> Is it on?\nYes it is.',
    [],
  ],
  [
    'marks may be indented',
    ' > > Is it on today?\n > No, it is not.\nWhy is it not?\n',
    [['Is it on today?', 'No, it is not.', 'Why is it not?']],
  ],
  [
    'the bars of a newsletter are no marks',
    '+----------------+\n| All the news. |\n+----------------+\nA dog came in.\n+----------------+\n',
    [],
  ],
  ['no quotation, no dialogue', 'Is it on today?\nI hope that it is.', []],
];
for (const [what, mail, dialogues] of cases) test(what, () => assert.equal(dialoguesIn(mail), dialogues));

test('the corpus: dialogues of two turns and more, of many threads', async () => {
  const all = await mailDialogues();
  assert.is(all.length, 1997);
  assert.ok(new Set(all.map(({ thread }) => thread)).size > 500);
  for (const { turns, thread } of all) {
    assert.ok(turns.length >= 2);
    assert.not.match(thread, /^(re|fwd?):/);
    for (const turn of turns) assert.not.match(turn, /\n/);
  }
});

test.run();
