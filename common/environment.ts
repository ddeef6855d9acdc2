import { printable } from './printable.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What a variable may be, as an error lists it, and the test for it. */
type Rule = readonly [values: string, isValid: RegExp];

const onOff: Rule = ['1, on, yes or true (or 0, off, no or false)', /^(1|on|yes|true|0|off|no|false)$/i];

/** The variables with a choice of values; docs/environment.md tells what they do. */
const rules: Readonly<Record<string, Rule>> = {
  TAPEFORM_DRIVER: ['system, software or swiftshader', /^(system|software|swiftshader)$/],
  TAPEFORM_QUIET: ['1 or 0', /^[01]$/],
  TAPEFORM_UNCHECKED: ['1 or 0', /^[01]$/],
  TAPEFORM_DEBUG: ['1 (ops), 2 (kernels), 3 (WGSL) or 4 (memory)', /^[0-4]$/],
  TAPEFORM_BINDING_LIMIT: ['a number of bytes', /^[1-9]\d{0,14}$/],
  HF_HUB_OFFLINE: onOff,
  TRANSFORMERS_OFFLINE: onOff,
  HF_ENDPOINT: ['an address, http:// or https://', /^https?:\/\/[^\s/]+\S*$/],
};

/** Throws for a value that no variable of the project has, where it would be passed over; empty is unset. */
export function checkEnvironment(env: Environment): void {
  for (const [name, [values, isValid]] of Object.entries(rules)) {
    const value = env[name];
    if (value && !isValid.test(value)) throw new Error(`${name}=${printable(value)}: give ${values}, or unset it`);
  }
}
