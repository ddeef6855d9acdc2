/**
 * Starts a script in several processes that train together: as torchrun does for PyTorch.
 *
 *   npx tapeform launch --processes 2 finetune-classifier --epochs 2
 *   npx tapeform launch --processes 4 my-script.ts --steps 100
 *
 * On two machines, with the same TAPEFORM_GROUP_SECRET, and `--node-rank 1` on the second:
 *
 *   npx tapeform launch --processes 4 --nodes 2 --node-rank 0 --master-addr 10.0.0.1 my-script.ts
 */
import { randomBytes } from 'node:crypto';
import { isLoopback } from '../distributed/rendezvous.ts';
import { main, parseOptions, startedBy, UsageError } from './cli/cli.ts';
import { freePort } from './launch/free-port.ts';
import { runRanks } from './launch/ranks.ts';
import { commandOf } from './launch/script.ts';
import { shellWord } from './trainer/run-state.ts';

const command = {
  name: 'launch',
  summary: 'Starts a script in several processes that train together, each with a share of every batch.',
  usage: 'node --import tsx train/launch.ts',
  positionals: { name: 'script', help: 'a command of tapeform, or a file; its own arguments follow', min: 1 },
  options: {
    processes: { type: 'int', required: true, min: 1, max: 1024, help: 'on this machine' },
    nodes: { type: 'int', default: 1, min: 1, max: 1024, help: 'machines; start this command on each' },
    nodeRank: { type: 'int', default: 0, min: 0, help: 'number of this machine, from 0 up' },
    masterAddr: { type: 'string', default: '127.0.0.1', help: 'address of machine 0, at which the others reach it' },
    masterPort: { type: 'int', min: 1, max: 65535, help: 'its port; default a free one, with several machines 29500' },
    adapters: { type: 'list', help: 'name of a GPU, or a part of it; several are given to the processes in turn' },
  },
} as const;

main(async () => {
  const words = process.argv.slice(2);
  const own = ownWords(words);
  const { values, positionals } = parseOptions(command, words.slice(0, own));
  const { processes, nodes, nodeRank, masterAddr, adapters } = values;
  if (nodeRank >= nodes)
    throw new UsageError(`${command.name}: --node-rank ${nodeRank} of --nodes ${nodes}; they count from 0 up`);
  if (nodes > 1 && isLoopback(masterAddr))
    throw new UsageError(`${command.name}: other machines cannot reach ${masterAddr}; give --master-addr`);
  const secret = process.env['TAPEFORM_GROUP_SECRET'] ?? (nodes > 1 ? '' : randomBytes(32).toString('hex'));
  if (secret === '')
    throw new UsageError(`${command.name}: set TAPEFORM_GROUP_SECRET to the same long random text on all machines`);
  const script = commandOf(positionals[0]!, words.slice(own));
  const shared = {
    WORLD_SIZE: String(nodes * processes),
    LOCAL_WORLD_SIZE: String(processes),
    MASTER_ADDR: masterAddr,
    MASTER_PORT: String(values.masterPort ?? (nodes > 1 ? 29500 : await freePort())),
    TAPEFORM_GROUP_SECRET: secret,
    TAPEFORM_LAUNCH: [startedBy(command.usage), ...words.slice(0, own - 1).map(shellWord)].join(' '),
  };
  const ranks = Array.from({ length: processes }, (_, local) => {
    const rank = nodeRank * processes + local;
    const env = { ...shared, RANK: String(rank), LOCAL_RANK: String(local) };
    const adapter = adapters[local % adapters.length]; // undefined where none is named
    return { rank, env: adapter === undefined ? env : { ...env, TAPEFORM_ADAPTER: adapter } };
  });
  await runRanks(script, ranks);
});

/** How many words are for this command: its flags, and the script's name. */
function ownWords(words: readonly string[]): number {
  for (let i = 0; i < words.length; i++) {
    if (!words[i]!.startsWith('-')) return i + 1;
    const isAlone = words[i]!.includes('=') || ['--help', '-h'].includes(words[i]!);
    if (!isAlone) i++;
  }
  return words.length;
}
