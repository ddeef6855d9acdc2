export { createGuard, Guard } from './guard.ts';
export type { GuardedText, Side } from './guard.ts';
export { guardRules, readGuardRules } from './config.ts';
export type { GuardConfig, GuardRule } from './config.ts';
export type { Finding } from './finder.ts';
export { findPersonalData, maskPersonalData, personalDataKinds } from './personal-data.ts';
export type { PersonalData, PersonalDataKind } from './personal-data.ts';
export type { GuardedPiece, GuardStream } from './stream.ts';
