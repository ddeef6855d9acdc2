/** A connection that carries at most `capacity`. */
export interface FlowEdge {
  readonly from: number;
  readonly to: number;
  readonly capacity: number;
}

/** Less than this is nothing: capacities are sums of f32 numbers near 1. */
const least = 1e-12;

/** The largest flow from one node to each of `sinks`, each by itself (Dinic 1970). */
export function maximumFlow(
  nodes: number,
  edges: readonly FlowEdge[],
  source: number,
  sinks: readonly number[],
): Float64Array {
  // Edge 2 i is edge i, 2 i + 1 takes back what flows in it; those of a node follow each other in `order`.
  const ends = new Int32Array(2 * edges.length);
  const first = new Int32Array(nodes + 1);
  for (const [i, { from, to }] of edges.entries()) {
    ends[2 * i] = to;
    ends[2 * i + 1] = from;
    first[from + 1]!++;
    first[to + 1]!++;
  }
  for (let node = 0; node < nodes; node++) first[node + 1]! += first[node]!;
  const order = new Int32Array(ends.length);
  const next = first.slice();
  for (const [i, { from, to }] of edges.entries()) {
    order[next[from]!++] = 2 * i;
    order[next[to]!++] = 2 * i + 1;
  }
  const room = new Float64Array(ends.length);
  const level = new Int32Array(nodes);
  const at = new Int32Array(nodes);

  /** Numbers the nodes by their distance from the source; whether the sink can be reached. */
  const reach = (sink: number): boolean => {
    level.fill(-1);
    level[source] = 0;
    const queue = [source];
    for (const node of queue) {
      for (let i = first[node]!; i < first[node + 1]!; i++) {
        const edge = order[i]!;
        const end = ends[edge]!;
        if (room[edge]! <= least || level[end]! >= 0) continue;
        level[end] = level[node]! + 1;
        queue.push(end);
      }
    }
    return level[sink]! >= 0;
  };
  /** Sends up to `most` from a node to the sink along edges that lead one further. */
  const push = (node: number, sink: number, most: number): number => {
    if (node === sink) return most;
    let sent = 0;
    for (; at[node]! < first[node + 1]! && most - sent > least; at[node]!++) {
      const edge = order[at[node]!]!;
      const end = ends[edge]!;
      if (room[edge]! <= least || level[end] !== level[node]! + 1) continue;
      const part = push(end, sink, Math.min(most - sent, room[edge]!));
      room[edge]! -= part;
      room[edge ^ 1]! += part;
      sent += part;
      if (most - sent <= least) break; // this edge may carry more next time
    }
    return sent;
  };
  return Float64Array.from(sinks, (sink) => {
    for (const [i, { capacity }] of edges.entries()) {
      room[2 * i] = capacity;
      room[2 * i + 1] = 0;
    }
    let flow = 0;
    while (reach(sink)) {
      at.set(first.subarray(0, nodes));
      const sent = push(source, sink, Infinity);
      if (sent <= least) break;
      flow += sent;
    }
    return flow;
  });
}
