/** The library in a page: all but what needs a disk or processes. The same names as in index.ts. */
export { linear } from './autograd/index.ts'; // the op; the schedule of this name is in tapeform/train
export * from './autograd/index.ts';
export * from './models/index.ts';
export * from './train/index.browser.ts';
