/** All of the library: tensors and gradients, models, training. Its rooms are there one by one, too. */
export { linear } from './autograd/index.ts'; // the op; the schedule of this name is in tapeform/train
export * from './autograd/index.ts';
export * from './models/index.ts';
export * from './distributed/index.ts';
export * from './train/index.ts';
