// @ts-check
// Lesson 18: a network over sound. The speech synthesiser espeak-ng says the digits in many voices, a convolution turns
// sound into spectra, and a one-dimensional network learns to hear the digits in voices that it has not met.
import { spawnSync } from "node:child_process";
import { conv1d, crossEntropy, manualSeed, maxPool1d, nn, noGrad, optim, relu, tensor } from "xcorr";

const words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
const rate = 22050; // samples per second that espeak-ng gives
const [window, hop, frames] = [512, 256, 48]; // samples; a spectrum every 12 ms, 0.57 s in all
const length = window + (frames - 1) * hop;

/** Speaks a word: the samples of the sound, -1 to 1. @param {string} word @param {string} voice @param {number} speed words per minute */
function speak(word, voice, speed) {
  const spoken = spawnSync("espeak-ng", ["-v", voice, "-s", String(speed), "--stdout", word]);
  if (spoken.error !== undefined || spoken.status !== 0) {
    console.error(
      `This lesson needs the speech synthesiser espeak-ng, and running it failed: ${spoken.error?.message ?? spoken.stderr}
Install it (Debian, Ubuntu: apt-get install espeak-ng; macOS: brew install espeak-ng) and run the lesson again.`,
    );
    process.exit(1);
  }
  // A WAV file: behind the word "data" and four bytes of length come 16-bit samples.
  const wav = spoken.stdout;
  const start = wav.indexOf("data") + 8;
  const sound = new Float32Array((wav.length - start) >> 1);
  for (let i = 0; i < sound.length; i++) sound[i] = wav.readInt16LE(start + 2 * i) / 32768;
  const first = sound.findIndex((v) => Math.abs(v) > 0.02); // the word begins, after a moment of silence
  const begin = Math.max(0, first);
  const cut = new Float32Array(length); // silence behind short words
  cut.set(sound.subarray(begin, begin + length));
  return cut;
}

/** All words in all voices. @param {string[]} voices @param {number[]} speeds */
function speakAll(voices, speeds) {
  const sounds = [];
  const digits = [];
  for (const voice of voices) {
    for (const speed of speeds) {
      for (const [digit, word] of words.entries()) {
        sounds.push(...speak(word, voice, speed));
        digits.push(digit);
      }
    }
  }
  return {
    x: spectra(tensor(Float32Array.from(sounds), { shape: [digits.length, 1, length] })),
    y: tensor(Int32Array.from(digits)),
  };
}

/**
 * Spectra by correlation with waves: how much of each pitch is in each window. A wave is met by a cosine and a sine of
 * its pitch, wherever it is in its swing; the root of the sum of their squares is its strength.
 * @param {import("xcorr").Tensor<"float32">} sound [batch, 1, samples]
 */
function spectra(sound) {
  const bands = 32;
  const waves = [];
  for (const wave of [Math.cos, Math.sin]) {
    for (let b = 0; b < bands; b++) {
      const pitch = 120 * 50 ** (b / (bands - 1)); // 120 to 6000 Hz, in equal ratios, as we hear
      for (let i = 0; i < window; i++) {
        const fade = 0.5 - 0.5 * Math.cos((2 * Math.PI * (i + 0.5)) / window); // the window's ends fade out
        waves.push(fade * wave((2 * Math.PI * pitch * i) / rate));
      }
    }
  }
  const kernels = tensor(waves).reshape([2 * bands, 1, window]);
  const y = conv1d(sound, kernels, { stride: hop });
  const [cosines, sines] = [y.narrow(1, 0, bands), y.narrow(1, bands, bands)];
  const strength = cosines.square().add(sines.square()).sqrt();
  return strength.add(0.01).log(); // [batch, bands, frames], loudness as we hear it
}

/** Two convolutions along time; then, for each of their features, where it was strongest. */
class Listener extends nn.Module {
  first = new nn.Conv1d(32, 32, 3);
  second = new nn.Conv1d(32, 48, 3);
  answer = new nn.Linear(48, 10);

  /** @param {import("xcorr").Tensor<"float32">} x [batch, 32 bands, 48 frames] @override */
  forward(x) {
    const early = maxPool1d(relu(this.first.forward(x)), 2);
    const late = relu(this.second.forward(early));
    return this.answer.forward(maxPool1d(late, late.size(2)).squeeze(2)); // [batch, 10]
  }
}

// Learned: two accents in eight voices. Asked: other voices, in an accent that was never heard, slower and faster.
const learned = ["m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3"].flatMap((v) => [`en-us+${v}`, `en-gb+${v}`]);
const training = speakAll(learned, [150, 190]);
const others = ["en-gb-scotland+m7", "en-gb-scotland+f4", "en-gb-x-gbclan+m6", "en-gb-x-gbclan+f5"];
const unheard = speakAll(others, [130, 170, 210]);
console.log(`${training.y.numel()} words to learn from, ${unheard.y.numel()} in voices that are not among them`);

manualSeed(0);
const model = new Listener();
const optimizer = new optim.Adam(model.parameters(), { lr: 3e-3 });
const mean = training.x.mean();
const batch = 32;
for (let epoch = 1; epoch <= 8; epoch++) {
  let total = 0;
  // The words come in an order that repeats 0 to 9, so every batch has all of them: no need to shuffle.
  for (let from = 0; from < training.y.numel(); from += batch) {
    const x = training.x.narrow(0, from, batch).sub(mean);
    const y = training.y.narrow(0, from, batch);
    optimizer.zeroGrad();
    const loss = crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    total += loss.item() * batch;
  }
  if (epoch % 2 === 0) console.log(`epoch ${epoch}, loss ${(total / training.y.numel()).toFixed(3)}`);
}

/** Share of right answers. @param {{ x: import("xcorr").Tensor<"float32">, y: import("xcorr").Tensor<"int32"> }} set */
function accuracy({ x, y }) {
  const answers = noGrad(() => model.forward(x.sub(mean))).argmax(1);
  return answers.eq(y).sum().item() / y.numel();
}
console.log(`accuracy ${accuracy(training).toFixed(3)}, in unheard voices ${accuracy(unheard).toFixed(3)}`);
