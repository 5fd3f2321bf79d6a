import { markAsUntransferable } from "node:worker_threads";
import { Block, sizeClass } from "./block.js";
import { ArgumentError, MemoryLimitError } from "./errors.js";
import { crowded, dismiss, introduce, welcome } from "./newcomers.js";
import { describe } from "./shape.js";
import { dropSpares } from "./spare.js";

/**
 * The pool that all tensor memory comes from.
 *
 * Why a pool: a fresh 25 MB buffer costs 3 to 7 times a reused one (page faults, zeroing). Why V8-owned memory: V8
 * frees it even inside a synchronous loop, where no finalizer of Node-API and no FinalizationRegistry ever runs.
 *
 * A block goes back to the pool in two ways. Deterministically, where the library knows that nobody can hold the
 * tensor (gradients consumed by backward(), temporaries of an op, `dispose()`, the end of a `scope`). Or because its
 * Storage object was collected: the addon holds a weak reference to every Storage, and when the pool has nothing that
 * fits it asks which of them are gone (sweep). If nothing is gone and much memory has been handed out since the last
 * collection, it asks V8 for one of the young generation, which costs about a millisecond and finds all
 * activations of the steps before. So a plain training loop lives in the memory of about one step, and nobody calls anything.
 *
 * Blocks are private: their ArrayBuffers are never handed out, so nothing can detach or resize them, and a reader of
 * values always gets a copy that no later operation changes.
 */

/** What the native backend lends to the pool; without it V8 alone manages memory. */
export interface MemoryHooks {
  /** Makes a block known to native calls under its id. */
  register(id: number, bytes: Uint8Array): void;
  unregister(id: number): void;
  /** The address of the first byte modulo 64. */
  misalignment(bytes: Uint8Array): number;
  /** Remembers weakly which object owns block `id`. */
  watch(id: number, owner: object): void;
  unwatch(id: number): void;
  /** Writes the ids whose owners are gone and forgets them; returns how many. */
  sweep(out: Int32Array): number;
  /** Gives back to the system what the C library's allocator holds free. */
  trim(): void;
  /**
   * Whether the system would give so many bytes more, and have some left for V8: where V8 finds none it ends the process; or,
   * `host`, whether it would give them to V8.
   */
  roomFor(bytes: number, host?: boolean): boolean;
  /** Bytes of V8's heap that are in use. */
  heapBytes(): number;
  /**
   * Asks V8 for a collection: of the young generation, or of everything, if wished into as few pages as can be. Absent if V8
   * does not offer it.
   */
  collect?(all: boolean, compact?: boolean): void;
}

/** Blocks up to this size are cut from slabs, so that a scalar does not own an ArrayBuffer. */
const slabbedBytes = 4096;
const slabBytes = 256 * 1024;
/**
 * When a class of blocks up to `sparedBytes` has none left, it grows by this part of itself at once: how many wait for a
 * collection varies from one to the next, and without some to spare every new largest number would take memory again.
 */
const spareShare = 1 / 4;
const sparedBytes = 64 * 1024;
/**
 * Bytes that may be lost between two collections the pool asks for (or half of what was live after one, if more): those
 * handed out since the last and not given back.
 */
const handedBudget = 48 * 1024 * 1024;
/** The same at moments of rest, where next to nothing lives that a young collection would have to copy. */
const restBudget = 16 * 1024 * 1024;
/**
 * So many training steps end without one at most: where a step loses little, V8 would choose the moment, the heap of what
 * waits for it would be higher now and then, and the pool would grow by the difference. Takes about a millisecond.
 */
const restSteps = 64;
/**
 * At these moments of rest everything is collected into as few pages as can be: what loading and the first steps have left,
 * and what V8's compilers add later fits into what that frees. Early, because each takes ten milliseconds and for as long
 * some megabytes more.
 */
const settlingRests: readonly number[] = [16, 64];
/**
 * The 1st, 2nd, 4th, 8th, ... collection at rest is a full one, as much grows old in the first thousands of steps; later the
 * budgets decide. Both only in a heap of at most so many bytes: in a larger one V8 collects often enough, and it takes long.
 */
const settledHeapBytes = 64 * 1024 * 1024;
/**
 * JavaScript's own objects since the last collection that ask for one at rest, in bytes; looked at every few moments. V8
 * grows its room for young objects to 8 MB or more, twice, while programs load; as much of it as is used between two
 * collections stays resident, and would creep up for thousands of steps.
 */
const youngBudget = 3 * 1024 * 1024;
const youngChecks = 8;
/** After so many a training step asks for a full collection at its end, so that what has grown old is not left to pile up. */
const oldBudget = 4 * 1024 * 1024 * 1024;
/**
 * So often, in milliseconds, what the C library holds free is given back to the system at a moment of rest: V8's compilers and
 * collectors take some megabytes in turn on each of their threads, and nobody else would give them back. Takes 0.2 ms in
 * a small process; where it takes longer it is done more rarely, for a thousandth of the time at most.
 */
const trimInterval = 200;
/**
 * Before the pool grows it looks harder: it asks for a young collection if so many bytes were handed out since the last, and for a
 * full one after so many, since what two young collections have met is old and only a full one finds it lost. In the
 * steady state nothing is missing, so this costs nothing; without it the pool would grow a little with every rare
 * coincidence of collections and steps.
 */
const growthBudget = 24 * 1024 * 1024;
/** Small blocks cost next to nothing, so lack of one asks for a collection only after so many bytes of them. */
const slabbedBudget = 4 * 1024 * 1024;
const fullGrowthBudget = 256 * 1024 * 1024;
/**
 * Shared memory that may be live before everything is collected (or twice what was live after the last time): batches
 * that loader workers send grow old while they wait, and no lack of blocks in the pool tells of them.
 */
const foreignBudget = 32 * 1024 * 1024;
/** From so many bytes on the system is asked before memory is taken from it. */
const askedBytes = 64 * 1024;

export interface MemoryStats {
  /** Bytes of blocks that tensors hold now (until a collection has been noticed, also those of lost tensors). */
  live: number;
  /** Bytes of blocks that wait in the pool. */
  pooled: number;
  /** The most bytes that were live at once since the start or `resetPeak()`. */
  peak: number;
  /** Storages alive; views share their base's. */
  tensors: number;
  /** Bytes and number of blocks ever taken from the system: constant in the steady state of a training loop. */
  fresh: number;
  freshBlocks: number;
  /** Collections that the pool asked V8 for. */
  collections: number;
  /** The limit set by `setMemoryLimit`, in bytes; Infinity when there is none. */
  limit: number;
}

const free = new Map<number, Block[]>();
const blocks = new Map<number, Block>();
/** How many blocks there are of each class that has spares. */
const counts = new Map<number, number>();
let hooks: MemoryHooks | undefined;
let nextId = 0;
let live = 0;
/** Bytes of live blocks that were given back, while programs in flight still use them. */
let parked = 0;
let pooled = 0;
let peak = 0;
let tensors = 0;
/** The system is asked again for room when there are so many. */
let askedTensors = 0;
/**
 * Whether the system has refused memory since it was last asked. What the user then lets go of must be collected before V8
 * takes the last of it for anything else, so the next tensor asks.
 */
let scarce = false;
const askedEvery = 4096;
/** So much beside, unless memory has been refused already. */
const roomBeside = 48 * 1024 * 1024;
/** For each tensor what lists of them take while they grow, above all V8's of dead weak handles, in one piece. */
const bytesOfLists = 256;
let fresh = 0;
let freshBlocks = 0;
let taken = 0;
let handedSinceCollection = 0;
let slabbedSinceCollection = 0;
let handedSinceFullCollection = 0;
let stepsSinceCollection = 0;
let rests = 0;
let collectionsAtRest = 0;
let heapAfterCollection = 0;
let collections = 0;
let limit = Number.POSITIVE_INFINITY;
let liveAfterCollection = 0;
let liveAfterFullCollection = handedBudget;
/** Bytes of live blocks over shared memory, now and after the last full collection. */
let foreign = 0;
let foreignAfterFullCollection = 0;
let nextTrim = 0;
let slab: Uint8Array | undefined;
let slabUsed = 0;
let poisoned = false;
let describeLargest: () => string = () => "";
let recordSite: (() => string) | null = null;
const swept = new Int32Array(4096);

/** Without the addon's weak references, this counts what V8 has freed. */
const registry = new FinalizationRegistry<number>((id) => lose(id));

export function setMemoryHooks(given: MemoryHooks): void {
  hooks = given;
  for (const block of blocks.values()) given.register(block.id, block.bytes);
}

/**
 * For tests: from now on every block handed out is filled with 0xff bytes (NaN in floating types, -1 in integers), so
 * that a kernel that leaves part of its output unwritten is found out. @internal
 */
export function poisonMemory(on: boolean): void {
  poisoned = on;
}

/** For messages: lists the largest live tensors (memory_report.ts). */
export function setLargestReport(report: () => string): void {
  describeLargest = report;
}

/** Asked for every block that is handed out: where the call came from. null: sites are not recorded. */
export function setSiteRecorder(recorder: (() => string) | null): void {
  recordSite = recorder;
}

/** The blocks that tensors hold now; after `collected`, without those that only lost tensors held. */
export function liveBlocks(collected: boolean): Block[] {
  if (collected) collect(true);
  return [...blocks.values()].filter((block) => block.live);
}

/**
 * The most bytes that tensors may hold. An allocation past it raises MemoryLimitError after collecting what is lost;
 * the process goes on. `Infinity` (the default) removes the limit.
 */
export function setMemoryLimit(bytes: number): void {
  if (typeof bytes !== "number" || !(bytes > 0)) {
    throw new ArgumentError(`setMemoryLimit: bytes must be a number above 0, or Infinity, got ${describe(bytes)}`);
  }
  limit = bytes;
}

/** What tensors hold now and have held, in bytes. */
export function memoryStats(): MemoryStats {
  return { live, pooled, peak, tensors, fresh, freshBlocks, collections, limit };
}

/** Starts the peak of `memoryStats()` anew, from what is live now. */
export function resetPeak(): void {
  peak = live;
}

/** Gives the pool's waiting blocks back to V8, and what is kept only to make later calls faster. */
export function emptyCache(): void {
  dropSpares();
  emptyPool();
}

function emptyPool(): void {
  for (const list of free.values()) {
    for (const block of list) {
      if (block.capacity <= slabbedBytes) continue; // part of a slab
      hooks?.unregister(block.id);
      blocks.delete(block.id);
      pooled -= block.capacity;
      const count = counts.get(block.capacity);
      if (count !== undefined) counts.set(block.capacity, count - 1);
    }
  }
  for (const capacity of free.keys()) if (capacity > slabbedBytes) free.delete(capacity);
}

/** A block of at least `bytes`, uninitialised (it holds whatever was there), owned by `owner` until released. */
export function acquire(bytes: number, owner: object): Block {
  const capacity = sizeClass(bytes);
  if (tensors >= askedTensors) askForTensors();
  if (live + capacity > limit) makeRoom(capacity);
  const list = free.get(capacity);
  let block = list?.pop();
  if (block === undefined) {
    block = find(capacity);
  } else {
    pooled -= capacity;
  }
  if (poisoned) block.bytes.fill(0xff);
  own(block, owner);
  return block;
}

/**
 * A small tensor is a kilobyte of JavaScript objects and lists of the addon, for which nobody asks the system: V8 and the C++
 * library end the process where they get none. So it is asked whenever there are more tensors than ever before.
 */
function askForTensors(): void {
  const room = (): boolean => hooks?.roomFor((scarce ? 0 : roomBeside) + tensors * bytesOfLists, true) ?? true;
  if (!room()) {
    giveBack();
    if (!room()) {
      throw new MemoryLimitError(
        `the system has no memory for more than ${tensors} tensors; drop those that you keep${describeLargest()}`,
      );
    }
  }
  askedTensors = tensors + askedEvery;
  scarce = false;
}

/** Makes `owner` the owner of a block: it counts as live until the owner is gone (a foreign block is then forgotten). */
export function own(block: Block, owner: object): void {
  block.takenAt = collections;
  handedSinceCollection += block.capacity;
  handedSinceFullCollection += block.capacity;
  if (block.capacity <= slabbedBytes) slabbedSinceCollection += block.capacity;
  live += block.capacity;
  if (block.foreign) foreign += block.capacity;
  if (live > peak) peak = live;
  tensors++;
  block.live = true;
  block.taken = ++taken;
  block.lost = null;
  block.shape = null;
  if (recordSite !== null) block.site = recordSite();
  if (hooks === undefined) {
    registry.register(owner, block.id, owner);
    return;
  }
  welcome(block, owner);
  if (crowded()) introduce(hooks.watch);
}

/** The number of the block that was taken last. @internal */
export function lastTaken(): number {
  return taken;
}

/** Puts a block back; the caller knows that nobody can read it any more. */
export function release(block: Block, owner: object): void {
  if (block.watched) hooks!.unwatch(block.id);
  else if (!dismiss(block)) registry.unregister(owner);
  put(block);
}

function put(block: Block): void {
  // No garbage any more, even while a program still uses it.
  if (block.takenAt === collections) {
    handedSinceCollection -= block.capacity;
    if (block.capacity <= slabbedBytes) slabbedSinceCollection -= block.capacity;
    block.takenAt = -1;
  }
  if (block.pins > 0) {
    block.waiting = true;
    parked += block.capacity;
    return;
  }
  block.live = false;
  block.watched = false;
  live -= block.capacity;
  if (block.foreign) foreign -= block.capacity;
  tensors--;
  if (block.foreign || block.detached) {
    hooks?.unregister(block.id);
    blocks.delete(block.id);
    return;
  }
  wait(block);
}

/** Lets a block that nobody holds wait for the next who asks for its class. */
function wait(block: Block): void {
  pooled += block.capacity;
  const list = free.get(block.capacity);
  if (list === undefined) free.set(block.capacity, [block]);
  else list.push(block);
}

/** Takes a program's pin off a block, and puts it back if its owner is gone. */
export function unpin(block: Block): void {
  if (--block.pins > 0 || !block.waiting) return;
  block.waiting = false;
  parked -= block.capacity;
  put(block);
}

/** A block whose owner was collected. */
function lose(id: number): void {
  const block = blocks.get(id);
  if (block !== undefined) put(block);
}

/** Takes back the blocks of collected owners; returns their bytes. */
function sweep(): number {
  if (hooks === undefined) return 0;
  const before = live;
  for (let n = swept.length; n === swept.length; ) {
    n = hooks.sweep(swept);
    for (let i = 0; i < n; i++) lose(swept[i]!);
  }
  return before - live;
}

function take(capacity: number): Block | undefined {
  const block = free.get(capacity)?.pop();
  if (block !== undefined) pooled -= capacity;
  return block;
}

/** The slow path of `acquire`: nothing of this class waits. */
function find(capacity: number): Block {
  sweep();
  let block = take(capacity);
  if (block !== undefined) return block;
  if (capacity <= slabbedBytes && slabbedSinceCollection < slabbedBudget && live + capacity <= limit)
    return make(capacity);
  if (hooks?.collect !== undefined) {
    const missed = handedSinceFullCollection > fullGrowthBudget + 8 * live;
    const budget = Math.min(growthBudget + 2 * capacity, Math.max(handedBudget, liveAfterCollection / 2));
    // The young one first, which takes a twentieth of the time: what was lost lately may be enough.
    if (missed || handedSinceCollection > budget) {
      collect(false);
      block = take(capacity);
      if (block !== undefined) return block;
    }
    if (missed) {
      collect(true);
      block = take(capacity);
      if (block !== undefined) return block;
    }
  }
  if (live + pooled + capacity > limit) emptyPool();
  try {
    return make(capacity);
  } catch (error) {
    // Blocks of tensors that are held no more may be what there is no memory for.
    if (error instanceof MemoryLimitError && hooks?.collect !== undefined) {
      collect(true);
      block = take(capacity);
    }
    if (block === undefined) throw error;
    return block;
  }
}

/**
 * Called where a step of a loop (a training step, a loader's batch in its worker) or an inference has ended and most of what
 * it made is lost: collecting here is cheapest, and nothing is taken for old that is only in use.
 */
export function collectAtRest(step: boolean): void {
  if (hooks?.collect === undefined) return;
  if (step) stepsSinceCollection++;
  if (settlingRests.includes(++rests) && hooks.heapBytes() < settledHeapBytes) {
    collect(true, true);
  } else if (
    handedSinceCollection > restBudget ||
    stepsSinceCollection >= restSteps ||
    (rests % youngChecks === 0 && hooks.heapBytes() - heapAfterCollection > youngBudget)
  ) {
    const n = ++collectionsAtRest;
    const settles = (n & (n - 1)) === 0 && hooks.heapBytes() < settledHeapBytes;
    collect(settles || (step && handedSinceFullCollection > oldBudget + 8 * live));
  }
  const start = performance.now();
  if (start < nextTrim) return;
  hooks.trim();
  const end = performance.now();
  nextTrim = end + Math.max(trimInterval, 1000 * (end - start));
}

/** Collects until `capacity` more bytes fit under the limit: what is known to be gone, then what is young, then everything. */
function makeRoom(capacity: number): void {
  sweep();
  for (const all of [false, true]) {
    if (live + capacity <= limit) return;
    collect(all);
  }
  dropSpares();
  if (live + capacity > limit) throw overLimit(capacity);
}

function collect(all: boolean, compact = false): void {
  const before = live - parked;
  const handed = handedSinceCollection;
  if (hooks !== undefined) introduce(hooks.watch);
  hooks?.collect?.(all, compact);
  collections++;
  sweep();
  // Tensors that survived two young collections are old: when a young one finds little although much was handed out,
  // collect everything, but not again before the live bytes have doubled.
  if (!all && before - (live - parked) < handed / 4 && live - parked > 2 * liveAfterFullCollection) {
    hooks?.collect?.(true);
    collections++;
    sweep();
    all = true;
  }
  if (all) {
    liveAfterFullCollection = Math.max(live - parked, handedBudget);
    foreignAfterFullCollection = foreign;
    handedSinceFullCollection = 0;
  }
  liveAfterCollection = live;
  handedSinceCollection = 0;
  slabbedSinceCollection = 0;
  stepsSinceCollection = 0;
  heapAfterCollection = hooks?.heapBytes() ?? 0;
}

function make(capacity: number): Block {
  if (capacity > sparedBytes) return add(aligned(capacity));
  const count = counts.get(capacity) ?? 0;
  const spares = live + pooled + 2 * capacity > limit ? 0 : Math.ceil(count * spareShare);
  counts.set(capacity, count + 1 + spares);
  for (let i = 0; i < spares; i++) wait(add(small(capacity)));
  return add(small(capacity));
}

function small(capacity: number): Uint8Array {
  return capacity <= slabbedBytes ? cut(capacity) : aligned(capacity);
}

function add(bytes: Uint8Array): Block {
  const block = registered(new Block(nextId++, bytes));
  fresh += block.capacity;
  freshBlocks++;
  return block;
}

function registered(block: Block): Block {
  hooks?.register(block.id, block.bytes);
  blocks.set(block.id, block);
  return block;
}

function cut(capacity: number): Uint8Array {
  if (slab === undefined || slabUsed + capacity > slab.byteLength) {
    slab = aligned(slabBytes);
    slabUsed = 0;
  }
  const bytes = slab.subarray(slabUsed, slabUsed + capacity);
  slabUsed += capacity;
  return bytes;
}

/** Memory whose first byte is on a cache line of 64 bytes. */
function aligned(capacity: number): Uint8Array {
  const buffer = allocate(capacity + 64, "a tensor", (bytes) => new ArrayBuffer(bytes));
  markAsUntransferable(buffer);
  let all: Uint8Array;
  try {
    all = new Uint8Array(buffer);
  } catch {
    throw new MemoryLimitError(`a tensor of ${capacity} bytes is more than a typed array of this Node.js can hold`);
  }
  const shift = (64 - (hooks?.misalignment(all) ?? 0)) % 64;
  return all.subarray(shift, shift + capacity);
}

/**
 * Memory from V8 by `make`, or MemoryLimitError: V8 refuses sizes past its limit and when the system has no more. The system
 * is asked before, because V8 looks for memory by collecting, and ends the process if it has none for that either. The
 * second attempt is made when all is given back that can be. @internal
 */
export function allocate<T>(bytes: number, what: string, make: (bytes: number) => T): T {
  for (let attempt = 0; ; attempt++) {
    try {
      if (bytes < askedBytes || (hooks?.roomFor(bytes) ?? true)) return make(bytes);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    if (attempt > 0) {
      throw new MemoryLimitError(
        `the system has no ${bytes} bytes for ${what} (${live} bytes are live in ${tensors} tensors)${describeLargest()}`,
      );
    }
    giveBack();
  }
}

/** Bytes that JavaScript reads into or writes from. @internal */
export function newBytes(bytes: number, what: string): Uint8Array<ArrayBuffer> {
  return allocate(bytes, what, (size) => new Uint8Array(size));
}

/** Gives back to the system what tensors do not hold. @internal */
export function giveBack(): void {
  collect(true);
  emptyCache();
  // What the pool let go is found by the next collection, and freed by a helper thread before the one after it begins.
  hooks?.collect?.(true);
  hooks?.collect?.(true);
  hooks?.trim();
  scarce = true;
  askedTensors = 0;
}

function overLimit(capacity: number): MemoryLimitError {
  return new MemoryLimitError(
    `a tensor of ${capacity} bytes would pass the memory limit of ${limit} bytes: ${live} bytes are live in ${tensors} ` +
      `tensors; raise the limit with setMemoryLimit, use a smaller batch, or drop tensors you keep${describeLargest()}`,
  );
}

/** A block over memory that the user brought (shared between threads); it never enters the pool. */
export function foreignBlock(bytes: Uint8Array<SharedArrayBuffer>): Block {
  // Nothing is taken from the pool here, so nobody else would notice the blocks that were lost before.
  if (foreign > Math.max(foreignBudget, 2 * foreignAfterFullCollection)) collect(true);
  else if (handedSinceCollection > Math.max(handedBudget, liveAfterCollection / 2)) collect(false);
  else sweep();
  const block = new Block(nextId++, bytes);
  block.foreign = true;
  return registered(block);
}
