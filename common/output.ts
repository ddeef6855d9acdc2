/** Of a pipe whose reader has ended, of a terminal that is gone. */
const broken = ['EPIPE', 'EIO', 'ENXIO', 'ECONNRESET'];
const watched = new WeakSet<NodeJS.WriteStream>();

/**
 * From here on, what is written to a stream that nobody reads any more (`| head -n 1`, a closed terminal) is
 * dropped, and the program goes on; without it, Node ends the program.
 */
export function dropUnread(stream: NodeJS.WriteStream): void {
  if (watched.has(stream)) return;
  watched.add(stream);
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (!broken.includes(error.code ?? '')) throw error;
    stream.write = (_: unknown, ...more: unknown[]): boolean => {
      const done = more.at(-1);
      if (typeof done === 'function') queueMicrotask(() => void done());
      return true;
    };
  });
}

/** Whether standard output shows 256 colours, as Node says, which honours NO_COLOR and FORCE_COLOR. */
export const showsColours = (): boolean => process.stdout.isTTY && process.stdout.hasColors(256);
