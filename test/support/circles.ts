/**
 * Groups of files that reach each other by their imports (strongly connected components, Tarjan 1972), the
 * largest first, each sorted: `{ a: [b], b: [a, c], c: [] }` has one, [a, b].
 */
export function circlesOf(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const numbers = new Map<string, number>();
  const lowest = new Map<string, number>();
  const open: string[] = [];
  const circles: string[][] = [];
  const visit = (file: string): number => {
    const number = numbers.size;
    numbers.set(file, number);
    lowest.set(file, number);
    open.push(file);
    for (const target of imports.get(file) ?? []) {
      const reached = !numbers.has(target) ? visit(target) : open.includes(target) ? numbers.get(target)! : Infinity;
      lowest.set(file, Math.min(lowest.get(file)!, reached));
    }
    if (lowest.get(file) === number) {
      const circle = open.splice(open.indexOf(file)).sort();
      if (circle.length > 1 || imports.get(file)?.includes(file)) circles.push(circle);
    }
    return lowest.get(file)!;
  };
  for (const file of imports.keys()) if (!numbers.has(file)) visit(file);
  return circles.sort((a, b) => b.length - a.length);
}
