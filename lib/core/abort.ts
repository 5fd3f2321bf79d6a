/** What waits for each signal. One listener for all: a server has one signal for many requests, and Node warns of a leak from 11 on. */
const waiting = new WeakMap<AbortSignal, { readonly calls: Set<() => void>; readonly listener: () => void }>();

/** Calls `work` when the signal is aborted, which it is not yet; the function returned takes that back. */
export function whenAborted(signal: AbortSignal, work: () => void): () => void {
  let entry = waiting.get(signal);
  if (entry === undefined) {
    const calls = new Set<() => void>();
    const listener = (): void => {
      waiting.delete(signal);
      for (const call of [...calls]) if (calls.has(call)) call(); // one may settle another
    };
    entry = { calls, listener };
    waiting.set(signal, entry);
    signal.addEventListener("abort", listener, { once: true });
  }
  const { calls, listener } = entry;
  calls.add(work);
  return () => {
    if (!calls.delete(work) || calls.size > 0 || waiting.get(signal)?.calls !== calls) return;
    waiting.delete(signal);
    signal.removeEventListener("abort", listener);
  };
}
