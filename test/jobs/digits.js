/** Data sets for worker threads. `digits`: [uint8 image [1, 8, 8], label], all from the sample's number. */
import { parentPort } from "node:worker_threads";
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

/**
 * Batches of parts of many sizes, some that are copied in several turns, some empty, some not contiguous.
 * @param {number} count @param {number} width
 */
export function uneven(count, width) {
  const row = (/** @type {number} */ i) => Array.from({ length: width }, (_, p) => Math.sin(i + p));
  return {
    length: count,
    /** @param {number} index */
    get: (index) => [tensor(row(index))],
    /** @param {Int32Array} indices */
    batch(indices) {
      const rows = tensor(Array.from(indices, row), { dtype: "float64" });
      return [
        rows,
        rows.transpose(0, 1),
        tensor(new Uint8Array(indices.length * 5).fill(indices[0] ?? 0), { shape: [indices.length, 5] }),
        tensor(new Float32Array(0), { shape: [indices.length, 0] }),
        tensor(Array.from(indices)).narrow(0, 0, Math.min(indices.length, (indices[0] ?? 0) % 3)),
      ];
    },
  };
}

/** Says of every batch whether its request brought memory to be used again. @param {number} count */
export function reused(count) {
  /** @type {number[]} */
  const brought = [];
  parentPort?.on("message", ({ memory }) => void brought.push(memory === null ? 0 : memory.byteLength));
  return { length: count, get: () => [tensor([brought.shift() ?? -1])] };
}

/** Ends its thread at one sample. @param {number} count @param {number} last */
export function ending(count, last) {
  const whole = digits(count);
  return {
    length: count,
    /** @param {number} index */
    get(index) {
      if (index === last && parentPort !== null) process.exit(3);
      return whole.get(index);
    },
  };
}

export const augment = data.compose(
  data.randomCrop(8, { padding: 1 }),
  data.randomHorizontalFlip(),
  data.normalize(0.2, 0.3),
);
