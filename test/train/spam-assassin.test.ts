import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { duplicateGroups } from '../../train/data/duplicates/groups.ts';
import { normalizedWords } from '../../train/data/duplicates/signature.ts';
import { emailBody, withoutListFooters } from '../../train/data/email-body.ts';
import { htmlText } from '../../train/data/html-text.ts';
import { loadSpamAssassin } from '../../train/data/spam-assassin.ts';

const test = suite('mail');

const mail = (headers: string[], body: string): string =>
  ['From: a@b.c', 'Subject: secret', ...headers, '', body].join('\n');

test('bodies of plain, encoded and multipart messages', async () => {
  assert.is(await emailBody(mail([], 'Hello\n  there,\tyou')), 'Hello there, you');
  const printable = ['Content-Type: text/plain; charset=iso-8859-1', 'Content-Transfer-Encoding: quoted-printable'];
  assert.is(await emailBody(mail(printable, 'caf=E9 co=\nsts =A35')), 'caf\u00e9 costs \u00a35');
  const base64 = ['Content-Type: text/plain; charset=utf-8', 'Content-Transfer-Encoding: base64'];
  assert.is(await emailBody(mail(base64, Buffer.from('na\u00efve text').toString('base64'))), 'na\u00efve text');
  const alternative = ['Content-Type: multipart/alternative; boundary="XX"'];
  const parts = (plain: string, html: string): string =>
    `preamble\n--XX\nContent-Type: text/plain\n\n${plain}\n--XX\nContent-Type: text/html\n\n${html}\n--XX--\n`;
  assert.is(await emailBody(mail(alternative, parts('the plain part', '<p>the html part'))), 'the plain part');
  assert.is(
    await emailBody(
      mail(alternative, parts('HTML message', '<p>Much longer <b>text</b> that a reader really sees<br>here')),
    ),
    'Much longer text that a reader really sees here',
  );
  assert.is(
    await emailBody(mail(['Content-Type: text/html'], '<html><title>t</title><p>one</p>two</html>')),
    'one two',
  );
  assert.is(
    await emailBody(mail([], '<html><body><table><tr><td>sent as</td><td>plain</td></table>')),
    'sent as plain',
  );
});

test('attachments, pictures and scripts leave no text; broken structure leaves what can be read', async () => {
  const mixed = ['Content-Type: multipart/mixed; boundary=YY'];
  const attached =
    '--YY\nContent-Type: text/plain\n\nsee file\n--YY\nContent-Type: image/png\nContent-Transfer-Encoding: ' +
    'base64\n\niVBORw0KGgo=\n--YY--';
  assert.is(await emailBody(mail(mixed, attached)), 'see file');
  assert.is(
    await emailBody(mail(['Content-Type: text/html'], '<body><img src=x.gif alt=x><script>go()</script></body>')),
    '',
  );
  assert.is(await emailBody(mail([], ' *** \n ')), '');
  const wrong = ['Content-Type: multipart/alternative; boundary="=A"'];
  assert.is(
    await emailBody(mail(wrong, '--= A\nContent-Type: text/plain;\n\tcharset="x"\n\nGreat <br>offer\n--= A--')),
    'Great offer',
  );
  assert.is(await emailBody(mail([], '--12.JavaMail.a\nContent-Type: text/plain\n\nNews')), 'News');
  assert.is(await emailBody(mail([], 'lost \uFFFD\uFFFDbytes')), 'lost bytes');
});

test('HTML entities, inline elements and comments', () => {
  const text = (html: string): string => htmlText(html).replace(/\s+/g, ' ').trim();
  assert.is(text('5 &lt; 6 &amp;&nbsp;w<b>or</b>d<br>end'), '5 < 6 & word end');
  assert.is(text('a<!-- hidden --> b <!--#unclosed> c'), 'a b c');
  assert.is(text('<head><title>no</title><style>p{}</style><p>yes'), 'yes');
  assert.is(text('<ul><li>one<li>two</ul>'), 'one two');
  const forwarded = 'the tags </body></html> end it <p>and text goes on';
  assert.is(text(forwarded), 'the tags end it and text goes on');
  assert.is(htmlText(forwarded, { behindEnd: false }).trim(), 'the tags');
});

test('footers of mailing lists go, the message and its signature stay', () => {
  const rule = '_'.repeat(47);
  const ilug =
    "Irish Linux Users' Group: ilug@linux.ie\nhttp://www.linux.ie/mailman/listinfo/ilug for (un)subscription " +
    'information.\nList maintainer: listmaster@linux.ie';
  const mailman =
    `${rule}\nRazor-users mailing ` +
    'list\nRazor-users@lists.sourceforge.net\nhttps://lists.sourceforge.net/lists/listinfo/razor-users';
  const advert =
    `${'-'.repeat(55)}\nThis sf.net email is sponsored by:ThinkGeek\nWelcome to geek ` +
    'heaven.\nhttp://thinkgeek.com/sf\n';
  for (const footer of [`-- \n${ilug}`, mailman, advert + mailman, 'http://xent.com/mailman/listinfo/fork']) {
    assert.is(withoutListFooters(`Hi\n-- \nBob\n\n${footer}\n`).trim(), 'Hi\n-- \nBob');
    const quoted = footer
      .split('\n')
      .map((line) => `> ${line}`)
      .join('\n');
    assert.is(withoutListFooters(`> Hi\n${quoted}\nYes.\n\n${footer}`).trim().replace(/\n+/g, '\n'), '> Hi\nYes.');
  }
  const kept = 'A mailing list is a list.\n-----\nSee http://example.org/mailman/listinfo/x for more on it.\n____\nend';
  assert.is(withoutListFooters(kept), kept);
});

test('Spam Assassin: counts, classes, no duplicate across the split, the same split for a seed', async () => {
  const { labels, train, validation, test: held, counts } = await loadSpamAssassin();
  assert.equal(labels, ['ham', 'spam']);
  assert.equal(counts, {
    messages: 6046,
    empty: 7,
    duplicates: 847,
    conflicting: 0,
    splits: {
      train: { ham: 2777, spam: 859 },
      validation: { ham: 397, spam: 122 },
      test: { ham: 793, spam: 244 },
    },
  });
  const { splits } = counts;
  const total = [train, validation, held].reduce((sum, split) => sum + split.length, 0);
  assert.is(total, counts.messages - counts.empty - counts.duplicates - counts.conflicting);
  for (const [name, split] of Object.entries({ train, validation, test: held })) {
    const spam = split.filter(({ label }) => label === 1).length;
    assert.equal({ ham: split.length - spam, spam }, splits[name as keyof typeof splits]);
  }
  const all = [...train, ...validation, ...held];
  const owner = (i: number): number => (i < train.length ? 0 : i < train.length + validation.length ? 1 : 2);
  const groups = duplicateGroups(
    all.map(({ text }) => text),
    { threshold: 0.8 },
  );
  assert.is(groups.filter((group, i) => owner(group) !== owner(i)).length, 0);
  assert.is(new Set(all.map(({ text }) => normalizedWords(text).join(' '))).size, all.length);
  // Bodies only. One spam quotes the headers of another message.
  const headers = /^(Return-Path|Received|Delivered-To|X-Spam|Message-Id|Content-Type):/i;
  assert.is(all.filter(({ text }) => headers.test(text)).length, 1);
  assert.ok(all.every(({ text }) => text.trim() === text && text !== '' && !/\s\s|[\uFFFD\n]/.test(text)));
  assert.ok(held.slice(0, 40).some(({ label }) => label === 1) && held.slice(0, 40).some(({ label }) => label === 0));
});

test.run();
