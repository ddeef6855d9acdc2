import type { Dispatch } from '../gpu/dispatch.ts';

const capacity = 1024;

/**
 * Remembers what a generator made of equal parameters: generators are pure, and a model asks for the same few
 * dozen kernels in every step. Worth it for long sources: half of the host's share of a training step went
 * into writing those of matmul again. Parameters must be plain data.
 */
export function memoise<P>(generate: (params: P) => Dispatch): (params: P) => Dispatch {
  const made = new Map<string, Dispatch>();
  return (params) => {
    const key = JSON.stringify(params);
    let dispatch = made.get(key);
    if (!dispatch) {
      if (made.size >= capacity) made.clear();
      dispatch = generate(params);
      made.set(key, dispatch);
    }
    return dispatch;
  };
}
