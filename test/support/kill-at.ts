// Loaded before a script, `node --import tsx --import ./test/support/kill-at.ts script.ts`: the process is
// killed before its KILL_AT-th operation on the disk; with 0 it says at its end how many there were.
import { faultyDisk } from './faulty-disk.ts';

const { operations } = faultyDisk('kill', Number(process.env['KILL_AT']));
process.on('exit', () => process.stderr.write(`operations on the disk: ${operations.length}\n`));
