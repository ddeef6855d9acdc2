// Runs sent to an MLflow server: what it is asked, here by a stand-in that keeps all requests.
import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { sendToMlflow } from '../../train/report/mlflow.ts';
import { rejects } from '../support/failure.ts';
import { runHistory as history } from '../support/run-history.ts';

const test = suite('mlflow');

interface Asked {
  readonly path: string;
  readonly authorization?: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** A server that answers as MLflow does, and keeps what it was asked. */
async function withServer(
  answer: (path: string) => { readonly status?: number; readonly json: unknown },
  use: (address: string, asked: readonly Asked[]) => Promise<void>,
): Promise<void> {
  const asked: Asked[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    void text(request).then((sent) => {
      const path = request.url!.replace('/api/2.0/mlflow/', '');
      asked.push({
        path,
        authorization: request.headers.authorization,
        body: sent === '' ? {} : (JSON.parse(sent) as Asked['body']),
      });
      const { status = 200, json } = answer(path);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(typeof json === 'string' ? json : JSON.stringify(json));
    });
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked);
  } finally {
    server.close();
  }
}

const usual: Readonly<Record<string, { readonly status?: number; readonly json: unknown }>> = {
  'experiments/get-by-name?experiment_name=spam%20mails': {
    status: 404,
    json: { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'none' },
  },
  'experiments/create': { json: { experiment_id: '7' } },
  'runs/search': { json: {} },
  'runs/create': { json: { run: { info: { run_id: 'r1' } } } },
  'runs/log-batch': { json: {} },
  'runs/update': { json: {} },
};

test('a run is made with its options, all of its numbers, and what made it', async () => {
  await withServer(
    (path) => usual[path]!,
    async (address, asked) => {
      const lines: string[] = [];
      await sendToMlflow([{ name: 'a', history }], { address, token: 'secret' }, 'spam mails', (line) =>
        lines.push(line),
      );
      const count = 700 * 3 - 1 + 2;
      assert.equal(lines, [`sent    a, ${count} numbers`]);
      assert.ok(asked.every(({ authorization }) => authorization === 'Bearer secret'));
      const of = (name: string) => asked.filter(({ path }) => path === name).map(({ body }) => body);
      const [made] = of('runs/create') as [{ start_time: number; tags: { key: string; value: string }[] }];
      assert.is(made.start_time, Date.parse(history.info.started));
      const tags = new Map(made.tags.map(({ key, value }) => [key, value]));
      assert.is(tags.get('mlflow.source.git.commit'), 'abc');
      assert.is(tags.get('mlflow.source.name'), 'tapeform finetune --epochs 2');
      type Batch = {
        run_id: string;
        params?: { key: string; value: string }[];
        metrics?: { key: string; step: number }[];
      };
      const batches = of('runs/log-batch') as unknown as Batch[];
      const params = new Map(
        batches.flatMap(({ params = [] }) => params.map(({ key, value }) => [key, value] as const)),
      );
      assert.is(params.get('learningRate'), '0.001');
      assert.is(params.get('model.class'), 'BertModel');
      assert.is(params.get('model.long')!.length, 6000);
      assert.is(params.get('parameters'), '10');
      const metrics = batches.map(({ metrics = [] }) => metrics);
      assert.ok(metrics.every(({ length }) => length <= 1000));
      assert.is(metrics.flat().length, count);
      assert.equal(metrics.flat().at(-1), {
        key: 'evaluation/top 5 ___',
        value: 7,
        timestamp: 1_800_000_000_000,
        step: 700,
      });
      assert.equal(of('runs/update'), [{ run_id: 'r1', status: 'FINISHED', end_time: 1_800_000_000_000 }]);
    },
  );
});

test('a run that is there is not sent again, one that has gone on replaces it; refusals are a line', async () => {
  const lines: string[] = [];
  const send = (address: string) =>
    sendToMlflow([{ name: 'a', history }], { address }, 'spam mails', (line) => lines.push(line));
  const there = (steps: string) => ({
    json: { runs: [{ info: { run_id: 'r0' }, data: { tags: [{ key: 'tapeform.steps', value: steps }] } }] },
  });
  await withServer(
    (path) => (path === 'runs/search' ? there('699') : (usual[path] ?? { json: {} })),
    async (address, asked) => {
      await send(address);
      assert.equal(lines.splice(0), ['sent    a, 2101 numbers']);
      assert.equal(asked.at(-1), { path: 'runs/delete', authorization: undefined, body: { run_id: 'r0' } });
    },
  );
  await withServer(
    (path) => (path === 'runs/search' ? there('700') : usual[path]!),
    async (address, asked) => {
      await send(address);
      assert.equal(lines, ['there   a']);
      assert.not(asked.some(({ path }) => path === 'runs/create'));
      const filter = `tags."tapeform.started" = '${history.info.started} 42'`;
      assert.is(asked.find(({ path }) => path === 'runs/search')!.body['filter'], filter);
    },
  );
  await withServer(
    () => ({ status: 400, json: { error_code: 'INVALID_PARAMETER_VALUE', message: 'no\nway' } }),
    (address) => rejects(send(address), /^mlflow: INVALID_PARAMETER_VALUE: "no\\nway"$/),
  );
  await withServer(
    () => ({ json: '<html>' }),
    (address) => rejects(send(address), /is no MLflow server: it answered 200 "<html>"$/),
  );
  await rejects(
    send('http://127.0.0.1:9'),
    /^mlflow: no server answers at "http:\/\/127\.0\.0\.1:9" \(.*\); start one/,
  );
});

test.run();
