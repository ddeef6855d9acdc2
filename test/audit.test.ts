import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { judgeAudit } from './support/advisories.ts';

const test = suite('audit');

const advisory = (severity: string, id = 'GHSA-1') => ({ source: 1, severity, title: 'T', url: `https://x/${id}` });
const report = (...via: unknown[]) => JSON.stringify({ auditReportVersion: 2, vulnerabilities: { zod: { via } } });

test('grave advisories are refused, others are told', () => {
  for (const severity of ['high', 'critical']) {
    const { refused, lines } = judgeAudit(report(advisory(severity)), []);
    assert.ok(refused);
    assert.equal(lines, [`zod: ${severity}: T (https://x/GHSA-1); refused`]);
  }
  for (const severity of ['info', 'low', 'moderate']) assert.not.ok(judgeAudit(report(advisory(severity)), []).refused);
  assert.ok(judgeAudit(report('another', advisory('low'), advisory('high', 'GHSA-2')), []).refused);
});

test('what is accepted, with a reason, is not refused; what is gone is told', () => {
  const accepted = [{ id: 'GHSA-1', package: 'zod', reason: 'not used' }];
  assert.equal(judgeAudit(report(advisory('high')), accepted), {
    refused: false,
    lines: ['zod: high: T (https://x/GHSA-1); accepted: not used'],
  });
  assert.ok(judgeAudit(report(advisory('high', 'GHSA-2')), accepted).refused);
  assert.ok(judgeAudit(report(advisory('high')), [{ ...accepted[0]!, package: 'tsx' }]).refused);
  assert.match(judgeAudit(report(), accepted).lines[0]!, /GHSA-1 is gone/);
});

test('a registry that does not answer fails nothing', () => {
  const refusal = JSON.stringify({ message: '405 Method Not Allowed', error: {} });
  assert.equal(judgeAudit(refusal, []), {
    refused: false,
    lines: ['not audited: the registry does not answer (405 Method Not Allowed)'],
  });
  for (const output of ['', 'x', 'null', '[]', '{"vulnerabilities": 1}']) assert.not.ok(judgeAudit(output, []).refused);
  assert.equal(judgeAudit(report(), []).lines, ['no known weaknesses']);
});

test.run();
