// @ts-check
/** A run of train.fit to be killed and resumed: node fit.js FOLDER [slow]. Writes FOLDER/final.json at its end. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { crossEntropy, data, io, manualSeed, nn, optim, rand, train } from "xcorr";
import { augment, digits } from "./digits.js";

const [folder = ".", slow] = process.argv.slice(2);
manualSeed(11);
const samples = /** @type {data.Dataset<[any, any]>} */ (digits(120));
const loader = new data.DataLoader(samples, { batchSize: 8, shuffle: true, seed: 3, transform: augment });
const validation = new data.DataLoader(samples, { batchSize: 40, transform: data.normalize(0.2, 0.3) });
const model = new nn.Sequential(
  new nn.Conv2d(1, 4, 3),
  new nn.BatchNorm2d(4),
  new nn.ReLU(),
  new nn.Dropout(0.3),
  new nn.Flatten(),
  new nn.Linear(144, 4),
);
const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01 });
const schedule = new optim.OneCycleLR(optimizer, 0.02, { totalSteps: 4 * 8 });
const path = join(folder, "run.safetensors");
let batches = 0;
const result = await train.fit(model, {
  train: loader,
  validation,
  loss: crossEntropy,
  optimizer,
  schedule,
  epochs: 4,
  accumulate: 2,
  clipNorm: 1,
  metrics: { accuracy: train.accuracy(), top2: train.topK(2) },
  trainMetrics: { accuracy: train.accuracy() },
  monitor: "accuracy",
  checkpoint: { path, everySteps: 1, best: join(folder, "best.safetensors") },
  resume: true,
  progress: false,
  callbacks: [
    async (event) => {
      if (event.type !== "batch") return;
      batches++;
      if (batches === 1) console.log(`first batch ${event.epoch}.${event.batch}`);
      // Time to be killed in; and the default generator is used between steps, as a user's code may.
      if (slow !== undefined) await new Promise((resolve) => setTimeout(resolve, 10));
      rand([1 + (event.batch % 3)]).dispose();
    },
  ],
});
io.saveSafetensors(join(folder, "weights.safetensors"), model.stateDict());
writeFileSync(
  join(folder, "final.json"),
  JSON.stringify({
    ...result,
    history: result.history.map(({ seconds: _, samplesPerSecond: __, ...record }) => record),
    next: Array.from(rand([4]).data()),
    loader: loader.state,
    batches,
  }),
);
