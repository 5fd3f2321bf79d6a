/**
 * Memory into which calls are written one after the other (programs, sequences), lent to one writer at a time and kept
 * for the next: as lists of numbers they would be most of what an asynchronous call leaves to the collector.
 */

/** The longest call has about 60 numbers. */
export const callLength = 4096;

let waiting: Float64Array | null = null;

export function takeTape(): Float64Array {
  const tape = waiting ?? new Float64Array(2 * callLength);
  waiting = null;
  return tape;
}

export function giveTape(tape: Float64Array): void {
  waiting = tape;
}

/** The tape, or a longer one with its numbers, where a call fits behind `length`. */
export function roomFor(tape: Float64Array, length: number): Float64Array {
  if (length + callLength <= tape.length) return tape;
  const longer = new Float64Array(2 * tape.length);
  longer.set(tape);
  return longer;
}
