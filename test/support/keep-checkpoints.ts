// Loaded before a script, `node --import tsx --import ./test/support/keep-checkpoints.ts script.ts`: a copy
// of each checkpoint that it saves below the folder KEEP_FROM stays in KEEP_IN, though the script removes it.
import { cp } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { disk } from '../../common/file-system.ts';

const { KEEP_FROM, KEEP_IN } = process.env;
const rename = disk.rename;
disk.rename = async (from, to) => {
  await rename(from, to);
  if (basename(to).startsWith('checkpoint-'))
    await cp(to, join(KEEP_IN!, relative(KEEP_FROM!, to)), { recursive: true });
};
