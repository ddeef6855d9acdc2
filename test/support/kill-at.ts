// Loaded before a script, `node --import tsx --import .../kill-at.ts script.ts`: the process is killed before
// its KILL_AT-th operation on the disk.
import { faultyDisk } from './faulty-disk.ts';

faultyDisk('kill', Number(process.env['KILL_AT']));
