/** EX_TEMPFAIL, by which a launcher tells a process that lost the others from the one that failed. */
export const lostOthers = 75;

/**
 * A process group that cannot go on: a rank has ended, or does not answer, or asks for something else than
 * the others. The message tells which rank, and what was being done; the group is closed.
 *
 * @example
 * new GroupError('rank 2 has ended').exitCode; // 75
 */
export class GroupError extends Error {
  override readonly name = 'GroupError';
  readonly exitCode = lostOthers;
}
