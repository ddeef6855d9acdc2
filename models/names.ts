/**
 * The state-dict name of a field: lower-camel names become snake_case (`tokenTypeEmbeddings` ->
 * `token_type_embeddings`), names that begin with a capital stay (`LayerNorm`), as Transformers spells them.
 */
export function snakeCase(name: string): string {
  if (/^[A-Z]/.test(name)) return name;
  return name.replace(
    /([a-z0-9])([A-Z]+)/g,
    (_, before: string, capitals: string) => `${before}_${capitals.toLowerCase()}`,
  );
}

/** The inverse for names of words in lower case: `num_hidden_layers` -> `numHiddenLayers`. */
export function camelCase(name: string): string {
  return name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/** The first few names and how many there are besides: error messages stay one line. */
export function listNames(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).join(', ');
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

export function showShape(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
