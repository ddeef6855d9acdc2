const subjects = ['film', 'book', 'meal', 'song', 'play', 'trip', 'room', 'game', 'show', 'walk'];
const places = ['Rome', 'Oslo', 'Lima'];

/** A table of sixty short texts, no two alike, whose first word tells the class. */
export const reviews = [
  'text,label',
  ...subjects.flatMap((s) =>
    places.flatMap((p) => [`wonderful ${s} from ${p} about ${s}s,good`, `terrible ${s} in ${p} without ${p},bad`]),
  ),
  '',
].join('\n');

/** Flags of finetune-classifier for a model that learns them in seconds. */
export const smallClassifier =
  '--from-scratch --layers 1 --hidden 8 --heads 2 --max-length 12 --batch-size 8 --learning-rate 0.02'.split(' ');
