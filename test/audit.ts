import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { judgeAudit } from './support/advisories.ts';
import type { Accepted } from './support/advisories.ts';
import { root } from './support/files.ts';

/**
 * `npm run audit`: asks the package registry for known weaknesses of what the project runs on, prints them,
 * and exits with 1 where one is high or critical and not accepted, with a reason, in
 * test/accepted-advisories.json. A registry that does not answer such questions, or no network, is said and
 * is no failure.
 */
const accepted = JSON.parse(readFileSync(join(root, 'test/accepted-advisories.json'), 'utf8')) as Accepted[];
const { stdout } = spawnSync('npm', ['audit', '--omit=dev', '--json'], {
  cwd: root,
  encoding: 'utf8',
  timeout: 60_000,
});
const { lines, refused } = judgeAudit(stdout, accepted);
for (const line of lines) console.log(line);
process.exitCode = refused ? 1 : 0;
