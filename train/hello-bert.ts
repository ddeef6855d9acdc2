/**
 * The smallest complete fine-tuning: three texts, two classes, three epochs.
 *
 *   npx tsx train/hello-bert.ts [name]      name: a folder, a model in the Hugging Face cache, or a hub name
 */
import { crossEntropy, noGrad, tensor } from '../autograd/index.ts';
import { BertForSequenceClassification, BertTokenizer } from '../models/index.ts';
import { main } from './cli/cli.ts';
import { AdamW } from './optim/index.ts';

const trainTexts = ['Hello, how are you?', "I'm fine, thank you. And you?", "I'm also fine."];
const trainLabels = [0, 1, 1];

main(async () => {
  const name = process.argv[2] ?? 'bert-base-uncased';
  const tokenizer = await BertTokenizer.fromPretrained(name);
  const model = await BertForSequenceClassification.fromPretrained(name, { numLabels: 2 });
  const encodings = tokenizer.encode(trainTexts, { truncation: true, padding: true });
  const optimizer = new AdamW(model.parameters(), { lr: 2e-5 });

  model.train();
  for (let epoch = 0; epoch < 3; epoch++) {
    optimizer.zeroGrad();
    const { logits } = model.forward(encodings);
    const loss = crossEntropy(logits, tensor(trainLabels));
    loss.backward();
    optimizer.step();
    console.log(`Epoch ${epoch + 1}, Loss: ${(await loss.item()).toFixed(4)}`);
  }

  model.eval();
  const predicted = noGrad(() => model.forward(encodings).logits.argmax(1));
  console.log(`Predicted labels: ${JSON.stringify(await predicted.tolist())}`);
});
