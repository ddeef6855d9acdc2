// Loaded before a script, `node --import tsx --import ./test/support/kill-at.ts script.ts`: the process is
// killed before its KILL_AT-th operation on the disk, or gets the signal KILL_WITH; with 0 it says at its end
// how many there were.
import { faultyDisk } from './faulty-disk.ts';

const { KILL_AT: at, KILL_WITH: signal } = process.env;
const { operations } = faultyDisk('kill', Number(at), signal as NodeJS.Signals | undefined);
process.on('exit', () => process.stderr.write(`operations on the disk: ${operations.length}\n`));
