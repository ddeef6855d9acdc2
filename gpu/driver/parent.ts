import { processStat } from '../../common/processes.ts';

/** The parent of a shell by its number; undefined for a process that is none, and where there is no /proc. */
function parentOfShell(pid: number): string | undefined {
  const { name = '', fields = [] } = processStat(pid) ?? {};
  return /^(sh|dash|bash)$/.test(name) ? fields[1] : undefined;
}

/**
 * Ends this process as SIGTERM does, so that a training saves itself, soon after its parent has ended without
 * a word (kill -9): where that was tsx or another that listens on a channel, npm, or the process that
 * restarted this one. A shell is none of these: what it runs in the background outlives it.
 */
export function endWithParent(): void {
  const parent = process.ppid;
  const { env } = process;
  const isOurs = env.TAPEFORM_PARENT === String(parent); // set by `restart`
  delete env.TAPEFORM_PARENT;
  if (!isOurs && !process.send && env.npm_lifecycle_event === undefined) return;
  // npm starts a shell, which outlives it.
  const npm = env.npm_lifecycle_event === undefined ? undefined : parentOfShell(parent);
  const timer = setInterval(() => {
    if (process.ppid === parent && (npm === undefined || parentOfShell(parent) === npm)) return;
    clearInterval(timer);
    process.kill(process.pid, 'SIGTERM');
  }, 500);
  timer.unref();
}
