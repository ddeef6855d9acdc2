import type { RunHistory } from '../../train/report/run-history.ts';

/** A run that no device made: 700 steps, one loss that is none, and a long option. */
export const runHistory: RunHistory = {
  info: {
    name: 'classification',
    command: 'tapeform finetune --epochs 2',
    identity: {
      seed: 42,
      learningRate: 0.001,
      betas: [0.9, 0.999],
      model: { class: 'BertModel', long: 'x'.repeat(7000) },
    },
    parameters: 10,
    adapter: 'mesa',
    driver: 'Mesa',
    software: true,
    versions: { node: '20' },
    commit: 'abc+',
    started: '2026-11-29T10:00:00.000Z',
  },
  steps: Array.from({ length: 700 }, (_, i) => ({
    ...{ step: i + 1, loss: i === 3 ? NaN : 1 / (i + 1), lr: 0.1, gradNorm: 1, tokens: 5, seconds: i },
    time: Date.parse('2026-11-29T10:00:01.000Z') + i,
  })),
  evaluations: [{ step: 700, evaluation: { loss: 0.5, 'top 5 (%)': 7 }, seconds: 1, time: 1_800_000_000_000 }],
};
