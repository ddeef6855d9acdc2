const animals = ['fox', 'dog', 'man'];
const places = ['hill', 'house', 'river', 'fire'];

/** JSONL of two questions about each of so many texts, no two alike, that a small model learns to answer. */
export function questionLines(texts: number): string {
  return Array.from({ length: texts }, (_, i) => {
    const [animal, place] = [animals[i % 3]!, places[i % 4]!];
    const context = `in ${['b', 'c', 'd', 'e', 'g'][i % 5]}${i} an ${animal} ran ${'x'.repeat(i % 7)} to the ${place}.`;
    const row = (question: string, text: string): string =>
      JSON.stringify({
        id: `${i} ${question}`,
        question,
        context,
        answers: [{ text, answer_start: context.indexOf(text) }],
      });
    return `${row('who ran?', animal)}\n${row('where?', place)}\n`;
  }).join('');
}
