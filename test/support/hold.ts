// Loaded before a script: when its work is done, the process makes HOLD_FOLDER/done-PID and lives on, with
// all that it has locked, until there is HOLD_FOLDER/go.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.env['HOLD_FOLDER']!;
process.on('beforeExit', () => {
  if (existsSync(join(folder, 'go'))) return;
  writeFileSync(join(folder, `done-${process.pid}`), '');
  setTimeout(() => undefined, 50);
});
