let enabled = true;

/** Whether ops record how to differentiate them. */
export function isGradEnabled(): boolean {
  return enabled;
}

function withMode<T>(mode: boolean, fn: () => T): T {
  const before = enabled;
  enabled = mode;
  try {
    const result = fn();
    if (result instanceof Promise) {
      throw new Error('noGrad and enableGrad take synchronous functions: await outside of them');
    }
    return result;
  } finally {
    enabled = before;
  }
}

/** Runs fn without recording: its results require no gradient, and no intermediate is kept for backward. */
export function noGrad<T>(fn: () => T): T {
  return withMode(false, fn);
}

/** Runs fn with recording on, inside noGrad. */
export function enableGrad<T>(fn: () => T): T {
  return withMode(true, fn);
}
