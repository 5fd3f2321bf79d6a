import { whenAborted } from "../core/abort.js";
import { noGrad } from "../autograd/mode.js";
import { ArgumentError, BackendError } from "../core/errors.js";
import { checkInteger, checkNumber, checkOptions, checkSignal } from "../core/options.js";
import { describe, format } from "../core/shape.js";
import { isTensor, type Tensor } from "../core/tensor.js";
import { Module } from "../nn/module.js";
import { stack } from "../ops/join.js";
import { runAsync } from "../ops/run_async.js";

/**
 * Batches for servers: requests come one by one, a network computes several together for little more than the price of
 * one. Collects what arrives until a batch is full or the first request has waited long enough.
 */

export interface MicroBatchOptions {
  /** Most requests of one batch, default 16. */
  readonly maxBatch?: number;
  /** Milliseconds that a request waits for others at most, default 2. It waits longer only while earlier batches compute. */
  readonly maxDelay?: number;
  /** Most requests that wait at once, default 1024; one more is refused with BackendError. */
  readonly maxQueue?: number;
}

export interface RequestOptions {
  /** Takes the request back: its promise is rejected with the signal's reason at once. */
  readonly signal?: AbortSignal;
}

/** Computes one request; see `microBatch`. */
export interface MicroBatch {
  /** x is one sample, without a batch dimension, unchanged until the promise settles. Resolves with its part of the result. */
  (x: Tensor, options?: RequestOptions): Promise<Tensor>;
  /** Requests that wait for a batch now. */
  readonly waiting: number;
  /** Batches computed so far, and the requests in them. */
  readonly batches: number;
  readonly served: number;
  /** Takes no more requests; resolves when those accepted are answered. */
  close(): Promise<void>;
}

interface Request {
  readonly x: Tensor;
  /** Requests of one batch have the same: shape and dtype. */
  readonly kind: string;
  readonly arrived: number;
  /** Answered or taken back; nothing more may be said to the caller. */
  settled: boolean;
  resolve(y: Tensor): void;
  reject(reason: unknown): void;
}

/** Computing and ready to compute: the next batch is recorded while one computes, so that no gap is between them. */
const mostInFlight = 2;

/**
 * A function that computes single samples in batches. `model` is a module in evaluation mode (its forward runs off the
 * main thread, unrecorded) or a function from a batch [n, ...sample] to a tensor [n, ...result], which may be asynchronous.
 *
 * Samples of different shapes never share a batch. If a batch fails, each of its requests is computed alone, so that
 * only the one at fault is rejected.
 */
export function microBatch(
  model: Module | ((batch: Tensor) => Tensor | Promise<Tensor>),
  options: MicroBatchOptions = {},
): MicroBatch {
  const call = "microBatch";
  checkOptions(call, options, ["maxBatch", "maxDelay", "maxQueue"]);
  const maxBatch = checkInteger(call, "maxBatch", options.maxBatch ?? 16, 1);
  const maxDelay = checkNumber(call, "maxDelay", options.maxDelay ?? 2, 0, 2 ** 31 - 1);
  const maxQueue = checkInteger(call, "maxQueue", options.maxQueue ?? 1024, 1);
  const compute = computation(model);

  const queue: Request[] = [];
  let timer: NodeJS.Timeout | null = null;
  let inFlight = 0;
  let batches = 0;
  let served = 0;
  let closed: (() => void) | null = null;
  let closing: Promise<void> | null = null;

  /** Starts the batches that are full or due, and the timer for the next. */
  const pump = (): void => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    while (queue.length > 0 && inFlight < mostInFlight) {
      const kind = queue[0]!.kind;
      const same = queue.filter((r) => r.kind === kind).slice(0, maxBatch);
      const left = queue[0]!.arrived + maxDelay - performance.now();
      if (same.length < maxBatch && left > 0 && closing === null) {
        timer = setTimeout(pump, left);
        break;
      }
      for (const r of same) queue.splice(queue.indexOf(r), 1);
      inFlight++;
      void answer(same).then(() => {
        inFlight--;
        pump();
      });
    }
    if (closed !== null && queue.length === 0 && inFlight === 0) closed();
  };

  const answer = async (requests: readonly Request[]): Promise<void> => {
    const wanted = requests.filter((r) => !r.settled); // the others were taken back
    if (wanted.length === 0) return;
    try {
      const results = await compute(wanted.map((r) => r.x));
      batches++;
      for (const [i, r] of wanted.entries()) r.resolve(results[i]!);
    } catch (error) {
      if (wanted.length === 1) for (const r of wanted) r.reject(error);
      else for (const r of wanted) await answer([r]);
    }
  };

  const request = async (x: Tensor, given: RequestOptions = {}): Promise<Tensor> => {
    checkOptions("microBatch request", given, ["signal"]);
    if (!isTensor(x)) throw new ArgumentError(`microBatch: a request is a tensor, one sample; got ${describe(x)}`);
    const signal = checkSignal("microBatch request", given.signal);
    signal?.throwIfAborted();
    if (closing !== null) throw new BackendError("microBatch: was closed and takes no more requests");
    if (queue.length >= maxQueue) {
      throw new BackendError(
        `microBatch: ${queue.length} requests wait already, the limit; answer "busy", or raise maxQueue`,
      );
    }
    const kind = `${format(x.shape)} ${x.dtype}`;
    return await new Promise<Tensor>((resolve, reject) => {
      let forget = (): void => {};
      const settle = (): boolean => {
        if (made.settled) return false;
        made.settled = true;
        forget();
        return true;
      };
      const made: Request = {
        x,
        kind,
        arrived: performance.now(),
        settled: false,
        resolve(y) {
          if (settle()) {
            served++;
            resolve(y);
          }
        },
        reject(reason) {
          if (settle()) reject(reason);
        },
      };
      const onAbort = (): void => {
        const at = queue.indexOf(made);
        if (at >= 0) queue.splice(at, 1);
        made.reject(signal!.reason);
        pump();
      };
      if (signal !== undefined) forget = whenAborted(signal, onAbort);
      queue.push(made);
      pump();
    });
  };

  const close = (): Promise<void> => {
    closing ??= new Promise((resolve) => {
      closed = resolve;
    });
    pump();
    return closing;
  };
  Object.defineProperties(request, {
    waiting: { get: () => queue.length },
    batches: { get: () => batches },
    served: { get: () => served },
    close: { value: close },
  });
  return request as MicroBatch;
}

/** From samples to results, one for each. */
function computation(
  model: Module | ((batch: Tensor) => Tensor | Promise<Tensor>),
): (samples: readonly Tensor[]) => Promise<readonly Tensor[]> {
  if (model instanceof Module) {
    const check = (): void => {
      if (!model.training) return;
      throw new ArgumentError(
        "microBatch: the model is in training mode, where samples of a batch influence each other; call model.eval()",
      );
    };
    check();
    const forward = model.forward.bind(model) as (x: Tensor) => unknown;
    return (samples) => {
      check(); // it may have been switched meanwhile
      return runAsync(() => noGrad(() => rows(forward(stack(samples)), samples.length)));
    };
  }
  if (typeof model !== "function")
    throw new ArgumentError(`microBatch: needs a module or a function, got ${describe(model)}`);
  return async (samples) => rows(await model(stack(samples)), samples.length);
}

/** The entries of dimension 0, each with memory of its own: callers do not share. */
function rows(y: unknown, count: number): readonly Tensor[] {
  if (!isTensor(y) || y.shape[0] !== count) {
    throw new ArgumentError(
      `microBatch: the function must return a tensor with ${count} entries in dimension 0, one for each request, got ${isTensor(y) ? format(y.shape) : describe(y)}`,
    );
  }
  return noGrad(() => Array.from({ length: count }, (_, i) => y.select(0, i).clone()));
}
