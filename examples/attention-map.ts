/**
 * What a BERT looks at: the attention of one head as a picture, rows looking at columns.
 *
 *   npx tsx examples/attention-map.ts ["a sentence"] [layer] [head]      writes runs/attention-map.svg
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { noGrad, tensor } from '../autograd/index.ts';
import { BertModel, BertTokenizer } from '../models/index.ts';
import { heatmapSvg } from '../train/index.ts';

const [sentence = 'the state of the union is strong', layer = '0', head = '0'] = process.argv.slice(2);

const folder = 'models/pretrained/bert-small';
const tokenizer = await BertTokenizer.fromPretrained(folder);
const model = (await BertModel.fromPretrained(folder)).eval();

const ids = tokenizer.idsOf(sentence, { addSpecialTokens: true });
const tokens = tokenizer.convertIdsToTokens(ids);
const inputIds = tensor([[...ids]], { dtype: 'i32' });
const { attentions } = noGrad(() => model.forward({ inputIds, outputAttentions: true }));
const weights = attentions![Number(layer)]!.slice(0, Number(head)); // (T, T); each row adds up to 1
const rows = (await weights.tolist()) as number[][];

const title = `layer ${layer}, head ${head}: each row looks at the columns`;
await mkdir('runs', { recursive: true });
await writeFile('runs/attention-map.svg', heatmapSvg(rows, { title, rows: tokens, columns: tokens }));

for (const [i, row] of rows.entries()) {
  const most = row.indexOf(Math.max(...row));
  console.log(`${tokens[i]!.padEnd(12)} looks at ${tokens[most]!.padEnd(12)} ${row[most]!.toFixed(2)}`);
}
console.log('saved runs/attention-map.svg');
