import { isJsonObject } from '../../common/json-file.ts';
import { printable } from '../../common/printable.ts';

/** An advisory that does not concern this project. */
export interface Accepted {
  /** Its id, e.g. "GHSA-xxxx-xxxx-xxxx". */
  readonly id: string;
  readonly package: string;
  /** Why it does no harm here. */
  readonly reason: string;
}

/** Whether an advisory is refused, and the lines that say what was found. */
export interface Judgement {
  readonly refused: boolean;
  readonly lines: readonly string[];
}

/**
 * Judges what `npm audit --json` printed: high and critical advisories are refused unless they are
 * accepted; an answer that is no report (the registry has no such service, no network) is not. Advisories
 * of a package that come through another are counted once.
 */
export function judgeAudit(output: string, accepted: readonly Accepted[]): Judgement {
  const report = parse(output);
  if (!isJsonObject(report) || !isJsonObject(report['vulnerabilities'])) {
    const message = isJsonObject(report) && typeof report['message'] === 'string' ? report['message'] : 'no answer';
    return { refused: false, lines: [`not audited: the registry does not answer (${printable(message)})`] };
  }
  const lines = new Map<string, string>();
  let refused = false;
  for (const [name, found] of Object.entries(report['vulnerabilities'])) {
    const via: unknown = isJsonObject(found) ? found['via'] : undefined;
    for (const advisory of Array.isArray(via) ? (via as unknown[]) : []) {
      if (!isJsonObject(advisory)) continue; // the name of another package, which has its own entry
      const { severity, title, url } = advisory;
      const id = String(url).split('/').at(-1)!;
      const reason = accepted.find((it) => it.id === id && it.package === name)?.reason;
      const grave = severity === 'high' || severity === 'critical';
      if (grave && reason === undefined) refused = true;
      const verdict = reason === undefined ? (grave ? 'refused' : 'not grave') : `accepted: ${reason}`;
      lines.set(
        `${name} ${id}`,
        printable(`${name}: ${String(severity)}: ${String(title)} (${String(url)}); ${verdict}`),
      );
    }
  }
  for (const { id, package: name } of accepted)
    if (!lines.has(`${name} ${id}`)) lines.set(`${name} ${id}`, `${name}: ${id} is gone; take it off the list`);
  return { refused, lines: lines.size > 0 ? [...lines.values()] : ['no known weaknesses'] };
}

function parse(output: string): unknown {
  try {
    return JSON.parse(output);
  } catch {
    return undefined;
  }
}
