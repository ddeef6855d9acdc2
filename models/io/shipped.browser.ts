// Pages have no npm packages beside them: what comes in those is given by its address instead.

export function shippedModel(name: string): string {
  throw new Error(`the small model ${name} is not part of a page; serve its folder and pass its address`);
}

export function packagedText(file: string): string {
  throw new Error(`${file} is not part of a page; load the tokenizer by the address of its folder, or from files`);
}
