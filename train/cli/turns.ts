// A script that is started in several processes runs its body in each. The first does all that is to be done
// once: it prepares data, writes, prints; the others run to a training when it has come there, so that they
// find what it has made, and change nothing themselves. After a training they wait until the first comes to
// another, or to its end.
import { changeNothing } from '../../common/file-system.ts';
import { currentGroup, destroyProcessGroup } from '../../distributed/environment.ts';
import { GroupError } from '../../distributed/errors.ts';
import type { ProcessGroup } from '../../distributed/index.ts';

/** What the first process comes to. */
type Turn = 'training' | 'end';

let takesTurns = false;
/** Whether this process knows that the first has come to the next training. */
let isTold = false;

/** Waits for the first process. Does not return where that has ended. */
async function nextTurn(group: ProcessGroup): Promise<void> {
  const turn = await group.broadcastObject<Turn>(undefined, 0, { timeout: Infinity }).catch((error: unknown) => {
    if (error instanceof GroupError) process.exit(error.exitCode); // the first has told why, or its launcher does
    throw error;
  });
  if (turn === 'end') {
    await destroyProcessGroup();
    process.exit(0);
  }
  isTold = true;
}

/** At the start of a script: all but the first process go on when that has come to a training. */
export async function takeTurns(): Promise<void> {
  const group = await currentGroup();
  if (!group) return;
  takesTurns = true;
  if (group.rank === 0) return;
  changeNothing();
  process.stdout.write = ((...given: unknown[]) => {
    const done = given.at(-1);
    if (typeof done === 'function') queueMicrotask(done as () => void);
    return true;
  }) as typeof process.stdout.write;
  await nextTurn(group);
}

/** Before a training, in every process. */
export async function trainingBegins(group: ProcessGroup | undefined): Promise<void> {
  if (!takesTurns || !group) return;
  if (group.rank === 0) await group.broadcastObject<Turn>('training');
  else if (!isTold) await nextTurn(group);
  isTold = false;
}

/** After a training, in all processes but the first. */
export async function trainingEnds(group: ProcessGroup): Promise<void> {
  if (takesTurns) await nextTurn(group);
}

/** At the end of a script, in the first process. */
export async function endTurns(): Promise<void> {
  if (!takesTurns) return;
  const group = await currentGroup();
  if (group?.rank === 0) await group.broadcastObject<Turn>('end');
  await destroyProcessGroup();
}
