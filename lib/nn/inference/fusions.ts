import { activationCodes, binaryCodes, unaryCodes } from "../../backend/abi.js";
import { decodeSizes, sizesPosition } from "../../backend/contract.js";
import { operandWritten } from "../../backend/operands.js";
import type { KernelCall } from "../../backend/recorder.js";
import type { Storage } from "../../core/storage.js";
import type { Tensor } from "../../core/tensor.js";
import type { NormConstants } from "../fuse.js";

/**
 * Rewrites the kernel calls of an inference so that a convolution does in its own pass what follows it: a batch norm goes
 * into its weight and bias; a sum with another tensor and a relu or relu6 go into its epilogue,
 * y = activation(conv + bias + residual). Batch norms that have no convolution before them take sums and activations as
 * well, matrix products activations; a result that is only copied is written where it is copied to (operations in place
 * compute beside and copy). The merged call stands where the later one stood.
 */

/** Gives weight and bias of the convolution that has a batch norm in it. */
export type Fold = (
  weight: Tensor,
  bias: Tensor | null,
  norm: NormConstants,
) => readonly [weight: Tensor, bias: Tensor];

/** Where in the list of calls a storage is written and read. */
interface Uses {
  readonly writes: number[];
  readonly reads: number[];
}

const none = activationCodes.indexOf("none");
const add = binaryCodes.indexOf("add");
const reluCode = unaryCodes.indexOf("relu");
const clampCode = unaryCodes.indexOf("clamp");

/** Where a kernel's flat sizes hold the activation, and its operands x and residual; the output is the last operand. */
const hosts = {
  conv: { activation: sizesPosition("ConvSizes", "activation"), residual: 3 },
  batch_norm_inference: { activation: sizesPosition("BatchNormSizes", "activation"), residual: 3 },
  gemm: { activation: sizesPosition("GemmSizes", "activation"), residual: null },
} as const;

type HostKernel = keyof typeof hosts;

/** @internal The calls with whatever can be merged merged; `kept` are the storages whose values somebody reads afterwards. */
export function fuseCalls(calls: readonly KernelCall[], kept: ReadonlySet<Storage>, fold: Fold): KernelCall[] {
  return new Fusion(calls, kept, fold).run();
}

class Fusion {
  readonly #calls: (KernelCall | null)[];
  readonly #kept: ReadonlySet<Storage>;
  readonly #fold: Fold;
  readonly #uses: ReadonlyMap<Storage, Uses>;

  constructor(calls: readonly KernelCall[], kept: ReadonlySet<Storage>, fold: Fold) {
    this.#calls = [...calls];
    this.#kept = kept;
    this.#fold = fold;
    this.#uses = usesOf(calls);
  }

  run(): KernelCall[] {
    for (let i = 0; i < this.#calls.length; i++) {
      if (this.#calls[i]!.kernel === "copy") this.#mergeCopy(i, this.#calls[i]!);
      const call = this.#calls[i]!;
      if (call.kernel === "batch_norm_inference") this.#mergeNorm(i, call);
      else if (call.kernel === "binary" && call.sizes[0] === add) this.#mergeSum(i, call);
      else if (call.kernel === "unary") this.#mergeActivation(i, call);
    }
    return this.#calls.filter((call) => call !== null);
  }

  /** A whole result copied elsewhere and read by nobody else. */
  #mergeCopy(i: number, call: KernelCall): void {
    const [x, y] = call.operands as [Tensor, Tensor];
    const p = this.#producer(x, i, false);
    if (p === null || x.dtype !== y.dtype || !y.isContiguous() || y.numel() !== x.numel()) return;
    const producer = this.#calls[p]!;
    const inputs = producer.operands.slice(0, -1);
    // Element by element a kernel may write over what it reads.
    const elementwise =
      (producer.kernel === "unary" || producer.kernel === "binary") &&
      inputs.every((t) => t!.isContiguous() && t!.numel() === y.numel());
    if (!elementwise && inputs.some((t) => t?.storage === y.storage)) return;
    if (elementwise && inputs.some((t) => t!.storage === y.storage && t!.offset !== y.offset)) return;
    this.#merge(p, i, { ...producer, operands: [...inputs, y] });
  }

  /** batch_norm_inference(conv(x)) becomes a convolution with other weights, which takes over residual and activation. */
  #mergeNorm(i: number, call: KernelCall): void {
    const [x, weight, bias, residual, mean, variance, y] = call.operands as [Tensor, ...(Tensor | null)[]];
    const p = this.#host(x, i, call.operands.at(-1)!, true);
    const host = p === null ? null : this.#calls[p]!;
    if (host === null || host.kernel !== "conv") return;
    const [from, w, b] = host.operands;
    const constants = [w, b, weight, bias, mean, variance].every((t) => !t || this.#isConstant(t.storage));
    const conv = decodeSizes("conv", host.sizes);
    const norm = decodeSizes("batch_norm_inference", call.sizes);
    if (!constants || conv.batch !== norm.batch || conv.out_channels !== norm.channels) return;
    const [foldedWeight, foldedBias] = this.#fold(w!, b ?? null, {
      weight: weight ?? null,
      bias: bias ?? null,
      mean: mean!,
      variance: variance!,
      eps: norm.eps,
    });
    const operands = [from!, foldedWeight, foldedBias, residual ?? null, y!];
    this.#merge(p!, i, { ...withActivation(host, norm.activation), operands });
  }

  /** a + b, one of which a host has just computed: the other becomes its residual. */
  #mergeSum(i: number, call: KernelCall): void {
    const [a, b, y] = call.operands as [Tensor, Tensor, Tensor];
    const whole = (t: Tensor): boolean => t.isContiguous() && t.numel() === y.numel();
    if (!whole(a) || !whole(b)) return;
    let best: { p: number; other: Tensor } | null = null;
    for (const [own, other] of [
      [a, b],
      [b, a],
    ] as const) {
      if (other.storage === y.storage) continue; // a residual may not be the output
      const p = this.#host(own, i, y, true);
      if (p === null) continue;
      if (best === null || p > best.p) best = { p, other };
    }
    if (best === null) return;
    const host = this.#calls[best.p]!;
    const operands = [...host.operands];
    operands[hosts[host.kernel as HostKernel].residual!] = best.other;
    operands[operands.length - 1] = y;
    this.#merge(best.p, i, { ...host, operands });
  }

  /** relu or relu6 of what a host has just computed. */
  #mergeActivation(i: number, call: KernelCall): void {
    const [x, y] = call.operands as [Tensor, Tensor];
    const { op, p0, p1 } = decodeSizes("unary", call.sizes);
    const activation = op === reluCode ? "relu" : op === clampCode && p0 === 0 && p1 === 6 ? ("relu6" as const) : null;
    if (activation === null) return;
    const p = this.#host(x, i, y, false);
    if (p === null) return;
    const host = this.#calls[p]!;
    const operands = [...host.operands];
    operands[operands.length - 1] = y;
    this.#merge(p, i, { ...withActivation(host, activationCodes.indexOf(activation)), operands });
  }

  /** Puts `merged` in the place of call i and of call p, whose reads and writes happen at i from now on. */
  #merge(p: number, i: number, merged: KernelCall): void {
    const { kernel, operands } = this.#calls[p]!;
    const between = this.#uses.get(operands.at(-1)!.storage)!; // what p handed to i
    between.reads.splice(between.reads.indexOf(i), 1);
    operands.forEach((t, k) => {
      const uses = t === null ? undefined : this.#uses.get(t.storage);
      if (uses === undefined) return;
      if (operandWritten(kernel, k)) uses.writes.splice(uses.writes.indexOf(p), 1);
      else uses.reads.splice(uses.reads.indexOf(p), 1, i);
    });
    this.#calls[p] = null;
    this.#calls[i] = merged;
  }

  /**
   * The position of a producer of `t` (see below) that can take more into its pass, for call i that writes `y`: it has no
   * activation yet, and if it is to be `bare` no residual.
   */
  #host(t: Tensor, i: number, y: Tensor, bare: boolean): number | null {
    const p = this.#producer(t, i, t.storage === y.storage);
    const call = p === null ? null : this.#calls[p]!;
    if (call === null || !(call.kernel in hosts)) return null;
    const { activation, residual } = hosts[call.kernel as HostKernel];
    if (call.sizes[activation] !== none) return null;
    if (bare && (residual === null || call.operands[residual] !== null)) return null;
    if (call.kernel === "gemm" && decodeSizes("gemm", call.sizes).accumulate !== 0) return null;
    return call.operands.slice(0, -1).some((read) => read?.storage === y.storage) ? null : p;
  }

  /**
   * The position of the call that computes `t` as its only output and for call i alone: nobody else reads what it writes,
   * and what it reads is still the same when i begins. `inPlace`: call i writes its result over t.
   */
  #producer(t: Tensor, i: number, inPlace: boolean): number | null {
    const { writes, reads } = this.#uses.get(t.storage)!;
    const p = writes[0];
    const call = p === undefined || p >= i ? null : this.#calls[p];
    if (!call || call.operands.some((_, k) => operandWritten(call.kernel, k) !== (k === call.operands.length - 1)))
      return null;
    const y = call.operands.at(-1)!;
    if (y.storage !== t.storage || y.dtype !== t.dtype || !t.isContiguous() || !y.isContiguous()) return null;
    if (t.offset !== y.offset || t.numel() !== y.numel()) return null;
    if (inPlace) {
      if (writes[1] !== i || reads.some((at) => at < i)) return null;
    } else if (writes.length !== 1 || reads.length !== 1 || this.#kept.has(t.storage)) {
      return null;
    }
    const same = call.operands.slice(0, -1).every((read) => {
      return read === null || !this.#uses.get(read.storage)?.writes.some((at) => at > p! && at < i);
    });
    return same ? p! : null;
  }

  #isConstant(storage: Storage): boolean {
    return !storage.valueless && (this.#uses.get(storage)?.writes.length ?? 0) === 0;
  }
}

function withActivation(call: KernelCall, activation: number): KernelCall {
  const sizes = [...call.sizes];
  sizes[hosts[call.kernel as HostKernel].activation] = activation;
  return { ...call, sizes };
}

function usesOf(calls: readonly KernelCall[]): Map<Storage, Uses> {
  const uses = new Map<Storage, Uses>();
  calls.forEach(({ kernel, operands }, at) => {
    operands.forEach((t, i) => {
      if (t === null) return;
      let entry = uses.get(t.storage);
      if (entry === undefined) uses.set(t.storage, (entry = { writes: [], reads: [] }));
      if (!operandWritten(kernel, i)) entry.reads.push(at);
      else if (entry.writes.at(-1) !== at) entry.writes.push(at);
    });
  });
  return uses;
}
