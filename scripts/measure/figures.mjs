// @ts-check
// What every measurement prints: the figure, what is promised, and whether it holds. Exit code 1 if one does not.

let failed = 0;

/**
 * Prints one figure beside its promise.
 * @param {string} name
 * @param {string} figure
 * @param {string} promise
 * @param {boolean} holds
 */
export function report(name, figure, promise, holds) {
  if (!holds) {
    failed++;
    process.exitCode = 1;
  }
  console.log(`${holds ? "holds " : "FAILS "} ${name}: ${figure} (promised: ${promise})`);
}

export function failures() {
  return failed;
}

/** Memory of the process that is in use, in bytes. */
export function residentBytes() {
  return process.memoryUsage.rss();
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * The value below which the given part of the numbers lies.
 * @param {readonly number[]} numbers
 * @param {number} part
 */
export function quantile(numbers, part) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

/**
 * Options --name value (numbers) and --name (1).
 * @template {string} K
 * @param {Record<K, number>} defaults
 * @returns {Record<K, number>}
 */
export function numbersFromArguments(defaults) {
  const values = /** @type {Record<string, number>} */ ({ ...defaults });
  const given = process.argv.slice(2);
  for (let i = 0; i < given.length; i++) {
    const name = /** @type {string} */ (given[i]).replace(/^--/, "");
    if (!Object.hasOwn(values, name)) {
      console.error(
        `unknown option ${given[i]}; known: ${Object.keys(defaults)
          .map((n) => `--${n}`)
          .join(" ")}`,
      );
      process.exit(2);
    }
    const next = given[i + 1];
    if (next !== undefined && !next.startsWith("--")) {
      values[name] = Number(next);
      i++;
    } else {
      values[name] = 1;
    }
  }
  return /** @type {Record<K, number>} */ (values);
}
