/** A data set for worker threads: [uint8 image [1, 8, 8], label], all from the sample's number. */
import { data, tensor } from "xcorr";

/** @param {number} count */
export function digits(count) {
  const images = new Uint8Array(count * 64);
  const labels = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    labels[i] = (i * 7) % 4;
    for (let p = 0; p < 64; p++)
      images[i * 64 + p] = (Math.floor(p / 16) === labels[i] ? 150 : 0) + ((i * 31 + p * 17) % 97);
  }
  return new data.TensorDataset(tensor(images, { shape: [count, 1, 8, 8] }), tensor(labels));
}

/** @param {number} count @param {number} bad */
export function failing(count, bad) {
  const whole = digits(count);
  return {
    length: count,
    /** @param {number} index */
    get(index) {
      if (index === bad) throw new RangeError(`sample ${index} is damaged`);
      return whole.get(index);
    },
  };
}

export const augment = data.compose(
  data.randomCrop(8, { padding: 1 }),
  data.randomHorizontalFlip(),
  data.normalize(0.2, 0.3),
);
