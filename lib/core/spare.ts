/**
 * Memory that only makes later calls faster, such as weights as a kernel multiplies them: whoever holds some registers
 * here, and gives it back when tensors need it.
 */
export interface Spare {
  drop(): void;
}

const holders = new Set<WeakRef<Spare>>();
let pruneAt = 64;

/** Remembers, weakly, who holds memory that can be done without. */
export function addSpare(holder: Spare): void {
  if (holders.size >= pruneAt) {
    for (const ref of holders) if (ref.deref() === undefined) holders.delete(ref);
    pruneAt = Math.max(64, 2 * holders.size);
  }
  holders.add(new WeakRef(holder));
}

/** Has all of it given back. */
export function dropSpares(): void {
  for (const ref of holders) ref.deref()?.drop();
  holders.clear();
}
