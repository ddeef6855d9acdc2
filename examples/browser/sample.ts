// What the page comes with.

/** The files of the base model that it asks for, in the folder `model` beside it. */
export const modelFiles = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'];

const byLabel = {
  money: [
    'the bank raised its rates again',
    'please pay the bill before friday',
    'the price of bread has gone up',
    'send the money to this account',
    'she saved a part of her wages',
    'the tax on land was cut in half',
    'the loan must be paid by may',
    'our bank sent a new card',
    'he owes the shop ten dollars',
    'the price was fair and we paid it',
    'wages rose and so did the rent',
    'the bill for the repairs was high',
    'they closed the account and took the money',
    'a tax on sugar pays for schools',
    'the loan has a low rate',
    'she counted the dollars twice',
  ],
  sea: [
    'the ship left the harbour at dawn',
    'a whale rose beside the boat',
    'the captain looked at the waves',
    'we sailed north for nine days',
    'the crew hauled in the nets',
    'the tide was low and the boat stuck',
    'the mast broke in the storm',
    'sailors slept on the deck',
    'the island came in sight at noon',
    'the captain told the crew to row',
    'a whale can dive for an hour',
    'waves broke over the deck',
    'the harbour was full of fishing boats',
    'the ship turned into the wind',
    'the anchor held all night',
    'they sailed past the island',
  ],
  state: [
    'congress voted on the new law',
    'the president spoke to the people',
    'the court will hear the case in june',
    'a treaty was signed by both nations',
    'the senate refused the bill',
    'citizens have a right to vote',
    'the law was changed by congress',
    'the president named a new judge',
    'the states agreed to the treaty',
    'the court found the law unjust',
    'voters chose a new senate',
    'the government sent its answer',
    'the judge read the law aloud',
    'both nations wish for peace',
    'the people elect the president',
    'the states keep their own courts',
  ],
};

/** A small table to begin with. */
export const sample = [
  'text,label',
  ...byLabel.money.flatMap((_, i) => Object.entries(byLabel).map(([label, texts]) => `${texts[i]!},${label}`)),
].join('\n');
