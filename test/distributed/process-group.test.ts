import { createServer, connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tensor, zeros } from '../../autograd/index.ts';
import { Random } from '../../common/random.ts';
import { GroupError, ProcessGroup } from '../../distributed/index.ts';
import { MessageReader } from '../../distributed/connection.ts';
import type { Message } from '../../distributed/connection.ts';
import { partsOf } from '../../distributed/ring.ts';
import { freePort } from '../../train/launch/free-port.ts';
import { failure } from '../support/failure.ts';
import { groupOf } from '../support/process-groups.ts';
import type { GroupOptions } from '../support/process-groups.ts';

const test = suite('process group');

const secret = 'known to all';

/** What each rank returns. */
const inAll = <T>(groups: readonly ProcessGroup[], run: (group: ProcessGroup) => Promise<T>): Promise<T[]> =>
  Promise.all(groups.map(run));

/** The message that each rank's promise was rejected with. */
const failures = (groups: readonly ProcessGroup[], run: (group: ProcessGroup) => Promise<unknown>): Promise<string[]> =>
  inAll(groups, async (group) => {
    const error = await run(group).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.instance(error, GroupError);
    return (error as Error).message;
  });

const close = async (groups: readonly ProcessGroup[]): Promise<void> =>
  void (await inAll(groups, (group) => group.close()));

const bits = (x: Float32Array): string => Buffer.from(x.buffer, x.byteOffset, x.byteLength).toString('base64');

/** Numbers of a rank, some large, some small. */
function numbers(rank: number, n: number): Float32Array {
  const random = new Random(rank, n);
  return Float32Array.from({ length: n }, () => random.normal() * 10 ** random.int(4));
}

test('sums, means and maxima of any size equal float64, with the same bits in all ranks and in two runs', async () => {
  for (const worldSize of [2, 3]) {
    const groups = await groupOf(worldSize);
    for (const n of [0, 1, 2, 5, 1000, 400_003]) {
      const given = groups.map(({ rank }) => numbers(rank, n));
      const exact = Float64Array.from({ length: n }, (_, i) => given.reduce((sum, x) => sum + x[i]!, 0));
      const scale = Float64Array.from({ length: n }, (_, i) => given.reduce((sum, x) => sum + Math.abs(x[i]!), 0));
      const sums = await inAll(groups, ({ rank }) => groups[rank]!.allReduce(given[rank]!.slice()));
      const means = await inAll(groups, (group) => group.allReduce(given[group.rank]!.slice(), 'mean'));
      const largest = await inAll(groups, (group) => group.allReduce(given[group.rank]!.slice(), 'max'));
      // Each rank starts at another time.
      const late = await inAll(groups, async (group) => {
        await new Promise((done) => setTimeout(done, 20 * group.rank));
        return group.allReduce(given[group.rank]!.slice());
      });
      for (const found of [sums, means, largest]) assert.is(new Set(found.map(bits)).size, 1, `${n}: the same bits`);
      assert.is(bits(late[0]!), bits(sums[0]!), `${n}: whatever comes first`);
      for (let i = 0; i < n; i++) {
        const near = (x: number, y: number): boolean => Math.abs(x - y) <= 2e-7 * scale[i]!;
        assert.ok(near(sums[0]![i]!, exact[i]!), `sum ${i} of ${n}: ${sums[0]![i]} for ${exact[i]}`);
        assert.ok(near(means[0]![i]!, exact[i]! / worldSize), `mean ${i} of ${n}`);
        assert.is(largest[0]![i], Math.max(...given.map((x) => x[i]!)));
      }
    }
    await close(groups);
  }
});

test('gathers, scatters, broadcasts, sends and receives; values too', async () => {
  const groups = await groupOf(3);
  const gathered = await inAll(groups, (group) => group.allGather(Float32Array.of(group.rank, 10 + group.rank)));
  for (const all of gathered) assert.equal(all.map((x) => [...x]), [[0, 10], [1, 11], [2, 12]]); // prettier-ignore
  const six = (rank: number): Float32Array => Float32Array.from({ length: 6 }, (_, i) => i + rank);
  const scattered = await inAll(groups, (group) => group.reduceScatter(six(group.rank)));
  assert.equal(scattered.map((x) => [...x]), [[3, 6], [9, 12], [15, 18]]); // prettier-ignore
  for (const from of [0, 1, 2]) {
    const given = await inAll(groups, (group) => group.broadcast(numbers(group.rank, 300_001), from));
    for (const x of given) assert.is(bits(x), bits(numbers(from, 300_001)), `from ${from}`);
    assert.equal(
      await inAll(groups, ({ rank }) => groups[rank]!.broadcastObject({ rank }, from)),
      [1, 2, 3].map(() => ({ rank: from })),
    );
  }
  assert.equal(
    await inAll(groups, (group) => group.allGatherObject(`rank ${group.rank}`)),
    [1, 2, 3].map(() => ['rank 0', 'rank 1', 'rank 2']),
  );
  const [, received] = await inAll(groups, async (group) => {
    if (group.rank === 0) for (const i of [1, 2]) await group.send(numbers(i, 300_001), 1);
    if (group.rank !== 1) return [];
    return [await group.recv(new Float32Array(300_001), 0), await group.recv(new Float32Array(300_001), 0)];
  });
  assert.equal(
    received!.map(bits),
    [1, 2].map((i) => bits(numbers(i, 300_001))),
    'in the order they were sent in',
  );
  await close(groups);
});

test('tensors, in pieces, views and many at once', async () => {
  const groups = await groupOf(2);
  const n = 2 ** 21 + 5; // more than a piece
  const sums = await inAll(groups, async (group) => {
    const x = tensor(numbers(group.rank, n));
    const view = tensor(
      Float32Array.from({ length: 6 }, (_, i) => i + group.rank),
      { shape: [2, 3] },
    );
    await group.allReduceAll([x, view.transpose()]);
    return [(await x.data()) as Float32Array, (await view.data()) as Float32Array];
  });
  const expected = numbers(0, n);
  numbers(1, n).forEach((y, i) => (expected[i]! += y));
  for (const [x, view] of sums) {
    assert.is(bits(x!), bits(expected));
    assert.equal([...view!], [1, 3, 5, 7, 9, 11]);
  }
  const rows = await inAll(groups, (group) => group.allGather(tensor([[group.rank, 1]])));
  assert.equal(await Promise.all(rows[1]!.map((x) => x.tolist())), [[[0, 1]], [[1, 1]]]);
  const part = await inAll(groups, (group) =>
    group.reduceScatter(
      tensor([
        [group.rank, 1],
        [2, 3],
      ]),
      'mean',
    ),
  );
  assert.equal(await Promise.all(part.map((x) => x.tolist())), [[[0.5, 1]], [[2, 3]]]);
  const moved = await inAll(groups, async (group) => {
    if (group.rank === 1) return void (await group.send(tensor([[1, 2], [3, 4]]), 0)); // prettier-ignore
    return (await group.recv(zeros(2, 2), 1)).tolist();
  });
  assert.equal(moved[0], [[1, 2], [3, 4]]); // prettier-ignore
  const whole = await failure(groups[0]!.allReduce(tensor([1], { dtype: 'i32' })));
  assert.match(whole, /exchanges f32, got i32 \[1\]; convert it/);
  await close(groups);
});

test('ranks that ask for different things are told what each does', async () => {
  const shapes = await groupOf(3);
  const said = await failures(shapes, (group) => group.allReduce(tensor(group.rank === 1 ? [[1], [2]] : [[1, 2]])));
  for (const message of said)
    assert.match(message, /rank \d does "allReduce sum of f32 \[\d, \d\]" where rank \d does/);
  assert.ok(said.some((message) => message.includes('[2, 1]') && message.includes('[1, 2]')));
  for (const group of shapes) assert.match(await failure(group.barrier()), /where rank/, 'it stays unusable');
  await close(shapes);
  const calls = await groupOf(3);
  const mixed = await failures(calls, (group) =>
    group.rank === 2 ? group.allGatherObject(1) : group.allReduce(new Float32Array(4), 'mean'),
  );
  for (const message of mixed) assert.match(message, /"allGatherObject"/);
  assert.ok(mixed.every((message) => message.includes('"allReduce mean of 4 numbers"')));
  await close(calls);
  const objects = await groupOf(2);
  // The first only sends.
  const [, told] = await Promise.all([objects[0]!.broadcastObject(1), failure(objects[1]!.barrier())]);
  assert.match(told, /"barrier" where rank 0 does "broadcastObject from 0"/);
  await close(objects);
  const sizes = await groupOf(2);
  for (const message of await failures(sizes, async (group) => {
    if (group.rank === 1) return group.recv(new Float32Array(5), 0);
    await group.send(new Float32Array(4), 1);
    return group.barrier();
  }))
    assert.match(message, /rank 0 sends 4 numbers, rank 1 waits for 5 numbers/);
  await close(sizes);
});

test('a rank that leaves or is silent ends the others, with its number', async () => {
  const left = await groupOf(3);
  const waiting = failures(left.slice(1), (group) => group.allReduce(new Float32Array(10)));
  await left[0]!.close();
  for (const message of await waiting) assert.match(message, /^rank 0 has ended .*during allReduce sum of 10 numbers$/);
  await close(left);
  const silent = await groupOf(2, { timeout: 300 });
  assert.match(
    (await failures(silent.slice(0, 1), (group) => group.barrier()))[0]!,
    /^barrier: rank 0 waited 0.3 s for rank 1;/,
  );
  await silent[1]!.barrier().catch(() => undefined); // what it waits for has come before
  assert.match(await failure(silent[1]!.barrier()), /rank 0 waited 0.3 s for rank 1/, 'who was waited for is told');
  await close(silent);
  const patient = await groupOf(2, { timeout: 200 });
  const slow = patient[0]!.broadcastObject(1, 1, { timeout: Infinity });
  await new Promise((done) => setTimeout(done, 400));
  await patient[1]!.broadcastObject(7, 1);
  assert.is(await slow, 7);
  await close(patient);
});

/** Messages of the ranks that did not meet. */
async function apart(places: readonly Partial<GroupOptions>[]): Promise<string[]> {
  const port = await freePort();
  const base = { worldSize: places.length, port, secret, timeout: 2000 };
  const results = await Promise.allSettled(
    places.map((place, rank) => ProcessGroup.connect({ rank, ...base, ...place })),
  );
  return results.map((result) => (result.status === 'rejected' ? (result.reason as Error).message : 'met'));
}

test('who does not belong together does not meet, and is told why', async () => {
  const [first, stranger] = await apart([{}, { secret: 'guessed' }]);
  assert.match(first!, /rank 1 of 2 did not come to rank 0 within 2 s.*1 refused, the last: it does not know/);
  assert.match(stranger!, /does not take rank 1 in: TAPEFORM_GROUP_SECRET is not the same/);
  for (const message of await apart([{ version: '1.0.0' }, { version: '1.1.0' }]))
    assert.match(message, /rank 1 runs version 1.1.0, rank 0 1.0.0; install one everywhere/);
  for (const message of await apart([{}, { worldSize: 3 }]))
    assert.match(message, /rank 1 has WORLD_SIZE 3, rank 0 2; set it alike/);
  for (const message of (await apart([{}, {}, { rank: 1 }])).slice(0, 1))
    assert.match(message, /two processes have RANK 1/);
  assert.match(
    (await apart([{ timeout: 300 }, { port: 1, timeout: 300 }]))[1]!,
    /rank 1 cannot reach rank 0 at 127.0.0.1:1/,
  );
  const none = await failure(ProcessGroup.connect({ rank: 0, worldSize: 2 }));
  assert.match(none, /secret/);
  assert.match(await failure(ProcessGroup.connect({ rank: 2, worldSize: 2, secret })), /from 0 to 1, got 2/);
});

test('a port in use, another service there, and strangers with garbage', async () => {
  const other = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', done));
  const { port } = other.address() as AddressInfo;
  const place = { worldSize: 2, port, secret, timeout: 2000 };
  assert.match(await failure(ProcessGroup.connect({ rank: 0, ...place })), /port \d+ of 127.0.0.1 is in use/);
  assert.match(await failure(ProcessGroup.connect({ rank: 1, ...place })), /is no process group/);
  await new Promise((done) => other.close(done));

  const free = await freePort();
  const first = ProcessGroup.connect({ rank: 0, ...place, port: free, timeout: 20_000 });
  for (const bytes of [
    'GET / HTTP/1.1\r\n\r\n',
    '{"rank":1,"worldSize":2,"version":"","nonce":"a","proof":"b"}\n',
    'x'.repeat(100_000),
  ])
    await new Promise<void>((done) => {
      const retry = (): void => {
        const socket = connect(free, '127.0.0.1', () => socket.end(bytes));
        socket.on('error', () => setTimeout(retry, 20)).on('close', (failed) => failed || done());
        socket.resume();
      };
      retry();
    });
  const groups = await Promise.all([first, ProcessGroup.connect({ rank: 1, ...place, port: free, timeout: 20_000 })]);
  assert.equal(await inAll(groups, (group) => group.allGatherObject(group.rank)), [[0, 1], [0, 1]]); // prettier-ignore
  await close(groups);
});

test('messages are read from pieces of any size, and what is none is refused', () => {
  const message = (kind: number, body: readonly number[]): number[] => [
    kind,
    0,
    0,
    0,
    7,
    0,
    0,
    0,
    9,
    0,
    0,
    0,
    body.length,
    0,
    0,
    0,
    ...body,
  ];
  const bytes = Uint8Array.from([...message(1, [1, 2, 3]), ...message(2, []), ...message(4, [5])]);
  for (const size of [1, 3, 16, 100]) {
    const found: Message[] = [];
    const reader = new MessageReader();
    for (let i = 0; i < bytes.length; i += size) reader.read(bytes.subarray(i, i + size), (each) => found.push(each));
    assert.equal(
      found.map(({ kind, sequence, part, body }) => [kind, sequence, part, ...body]),
      [
        [1, 7, 9, 1, 2, 3],
        [2, 7, 9],
        [4, 7, 9, 5],
      ],
    );
  }
  for (const bad of [
    message(0, []),
    message(9, []),
    [1, 1, ...message(1, []).slice(2)],
    [...message(1, []).slice(0, 12), 255, 255, 255, 255],
  ])
    // prettier-ignore
    assert.throws(() => new MessageReader().read(Uint8Array.from(bad), () => undefined), /no message/);
});

test('parts differ by one at most and cover all', () => {
  for (const [n, parts] of [
    [0, 3],
    [2, 3],
    [10, 3],
    [12, 4],
  ] as const) {
    // prettier-ignore
    const found = partsOf(n, parts);
    assert.is(found[0]![0], 0);
    assert.is(found.at(-1)![1], n);
    const lengths = found.map(([start, end]) => end - start);
    assert.ok(Math.max(...lengths) - Math.min(...lengths) <= 1);
  }
});

test.run();
