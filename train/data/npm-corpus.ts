/**
 * A corpus that comes from npm. None is among the library's dependencies: error, one line, where it is not
 * installed.
 */
export async function npmCorpus<T>(name: string): Promise<() => T> {
  try {
    return ((await import(name)) as { readonly default: () => T }).default;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(`the corpus ${name} is not installed; npm install ${name}`, { cause: error });
  }
}
