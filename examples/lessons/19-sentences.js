// @ts-check
// Lesson 19: a convolution over words tells praise from complaint.
import { createRequire } from "node:module";
import { crossEntropy, data, manualSeed, maxPool1d, nn, noGrad, optim, relu, tensor } from "xcorr";

// 3000 sentences from reviews of products, films and restaurants, each labelled 1 (praise) or 0 (complaint). The package
// `sentiment` ships them; they were collected by Kotzias et al., "From Group to Individual Labels using Deep Features", 2015.
/** @type {(name: string) => any} */
const load = createRequire(import.meta.url);
/** @type {{ text: string, class: 0 | 1 }[]} */
const sentences = ["amazon", "imdb", "yelp"]
  .flatMap((name) => load(`sentiment/test/fixtures/${name}.json`))
  .filter((sentence) => sentence.text.trim() !== "");

/** Lower-case words. "not" and "n't" matter here, so don't becomes do n't. @param {string} text */
function split(text) {
  const spaced = text.toLowerCase().replaceAll("n't", " n't");
  return spaced.match(/[a-z0-9']+|[!?]/g) ?? [];
}

// Every fifth sentence is kept for the test.
const learned = sentences.filter((_, i) => i % 5 !== 0);
const unseen = sentences.filter((_, i) => i % 5 === 0);

// The vocabulary: words that occur at least twice among the sentences to learn from. 0 is for empty places, 1 for others.
/** @type {Map<string, number>} */
const counts = new Map();
for (const { text } of learned) for (const word of split(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
const frequent = [...counts].filter(([, count]) => count >= 2).map(([word]) => word);
const vocabulary = new Map(frequent.map((word, i) => [word, i + 2]));

const places = 24; // words a sentence; longer ones are cut
/** Sentences as numbers of words, int32 [sentences, places]. @param {{ text: string }[]} list */
function encode(list) {
  return tensor(
    list.map(({ text }) => {
      const words = split(text).map((word) => vocabulary.get(word) ?? 1);
      return Array.from({ length: places }, (_, i) => words[i] ?? 0);
    }),
    { dtype: "int32" },
  );
}

/** @param {{ class: number }[]} list */
function labels(list) {
  const classes = list.map((sentence) => sentence.class);
  return tensor(classes, { dtype: "int32" });
}

/** Each word becomes a vector; filters look at three words in a row; the strongest answer of each filter counts. */
class Reader extends nn.Module {
  words = new nn.Embedding(vocabulary.size + 2, 24, { paddingIdx: 0 });
  filters = new nn.Conv1d(24, 32, 3, { padding: 1 });
  forget = new nn.Dropout(0.5);
  answer = new nn.Linear(32, 2);

  /** @param {import("xcorr").Tensor} numbers int32 [batch, places] @override */
  forward(numbers) {
    const vectors = this.words.forward(numbers).transpose(1, 2); // [batch, 24, places]: the vector is the channels
    const found = relu(this.filters.forward(vectors)); // [batch, 32, places]
    const strongest = maxPool1d(found, places).squeeze(2); // [batch, 32], wherever in the sentence
    return this.answer.forward(this.forget.forward(strongest)); // [batch, 2]
  }
}

manualSeed(0);
const model = new Reader();
const optimizer = new optim.Adam(model.parameters(), { lr: 3e-3 });
const samples = new data.TensorDataset(encode(learned), labels(learned));
const training = new data.DataLoader(samples, { batchSize: 32, shuffle: true, seed: 0 });
console.log(`${learned.length} sentences to learn from, ${unseen.length} for the test, ${vocabulary.size} words`);

/** Share of right answers. @param {{ text: string, class: 0 | 1 }[]} list */
function accuracy(list) {
  model.eval(); // dropout rests
  const answers = noGrad(() => model.forward(encode(list))).argmax(1);
  model.train();
  return answers.eq(labels(list)).sum().item() / list.length;
}

for (let epoch = 1; epoch <= 6; epoch++) {
  for (const [x, y] of training) {
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
  }
  console.log(`epoch ${epoch}: accuracy on unseen sentences ${accuracy(unseen).toFixed(3)}`);
}
console.log(`accuracy on the sentences it has learned from ${accuracy(learned).toFixed(3)}`);

// For comparison: the package's own method adds up the values of words in a list that people have made.
const Sentiment = load("sentiment");
const list = new Sentiment();
const byList = unseen.filter(({ text, class: label }) => Number(list.analyze(text).score >= 0) === label);
console.log(`the word list, on unseen sentences ${(byList.length / unseen.length).toFixed(3)}`);

model.eval();
for (const text of ["This is a great phone and I love it", "Not worth the money, I was disappointed"]) {
  const answer = noGrad(() => model.forward(encode([{ text }]))).argmax(1);
  console.log(`${text}: ${answer.item() === 1 ? "praise" : "complaint"}`);
}
