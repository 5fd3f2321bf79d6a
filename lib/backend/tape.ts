/**
 * Memory into which calls are written one after the other (programs, sequences), lent to one writer at a time and kept
 * for the next: as lists of numbers they would be most of what an asynchronous call leaves to the collector.
 */

/** The longest call has about 60 numbers. */
export const callLength = 4096;

export class Tape {
  numbers: Float64Array = new Float64Array(2 * callLength);
  length = 0;

  /** One more call fits then. */
  makeRoom(): void {
    if (this.length + 1 + callLength <= this.numbers.length) return;
    const longer = new Float64Array(2 * this.numbers.length);
    longer.set(this.numbers);
    this.numbers = longer;
  }

  /** What was written, without a copy. */
  written(): Float64Array {
    return this.numbers.subarray(0, this.length);
  }
}

let waiting: Tape | null = null;

/** An empty one. */
export function takeTape(): Tape {
  const tape = waiting ?? new Tape();
  waiting = null;
  tape.length = 0;
  return tape;
}

export function giveTape(tape: Tape): void {
  waiting = tape;
}
