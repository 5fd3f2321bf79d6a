import { activationCodes, binaryCodes, sizesFields, unaryCodes } from "../../backend/abi.js";
import { decodeSizes } from "../../backend/contract.js";
import { operandWritten } from "../../backend/program.js";
import type { KernelCall } from "../../backend/recorder.js";
import type { Storage } from "../../core/storage.js";
import type { Tensor } from "../../core/tensor.js";
import type { NormConstants } from "../fuse.js";

/**
 * Rewrites the kernel calls of an inference so that a convolution does in its own pass what follows it: a batch norm goes
 * into its weight and bias; a sum with another tensor and a relu or relu6 go into its epilogue,
 * y = activation(conv + bias + residual). Batch norms that have no convolution before them take sums and activations as
 * well, matrix products activations. The merged call stands where the later one stood.
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
  conv: { activation: position("ConvSizes"), residual: 3 },
  batch_norm_inference: { activation: position("BatchNormSizes"), residual: 3 },
  gemm: { activation: position("GemmSizes"), residual: null },
} as const;

function position(struct: "ConvSizes" | "BatchNormSizes" | "GemmSizes"): number {
  let at = 0;
  for (const field of sizesFields[struct]) {
    if (field === "activation") return at;
    at += Number(/\[(\d)\]/.exec(field)?.[1] ?? 1);
  }
  throw new Error(`${struct} has no activation`);
}

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
      const call = this.#calls[i]!;
      if (call.kernel === "batch_norm_inference") this.#mergeNorm(i, call);
      else if (call.kernel === "binary" && call.sizes[0] === add) this.#mergeSum(i, call);
      else if (call.kernel === "unary") this.#mergeActivation(i, call);
    }
    return this.#calls.filter((call) => call !== null);
  }

  /** batch_norm_inference(conv(x)) becomes a convolution with other weights, which takes over residual and activation. */
  #mergeNorm(i: number, call: KernelCall): void {
    const [x, weight, bias, residual, mean, variance, y] = call.operands as [Tensor, ...(Tensor | null)[]];
    const p = this.#host(x, i, false);
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
      const p = this.#host(own, i, own.storage === y.storage);
      if (p === null || hosts[this.#calls[p]!.kernel as HostKernel].residual === null) continue;
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
    const p = this.#host(x, i, x.storage === y.storage);
    if (p === null) return;
    const host = this.#calls[p]!;
    const operands = [...host.operands];
    operands[operands.length - 1] = y;
    this.#merge(p, i, { ...withActivation(host, activationCodes.indexOf(activation)), operands });
  }

  #merge(p: number, i: number, merged: KernelCall): void {
    this.#calls[p] = null;
    this.#calls[i] = merged;
  }

  /**
   * The position of the call that computes `t` for call i alone and can take more into its pass: it has no activation
   * and no residual yet, nobody else reads what it writes, and what it reads is still the same at i. `inPlace`: call i
   * writes its result over t.
   */
  #host(t: Tensor, i: number, inPlace: boolean): number | null {
    const { writes, reads } = this.#uses.get(t.storage)!;
    const p = writes[0];
    if (p === undefined || p >= i) return null;
    const host = this.#calls[p];
    if (!host || !(host.kernel in hosts)) return null;
    const { activation, residual } = hosts[host.kernel as HostKernel];
    const y = host.operands.at(-1)!;
    if (host.sizes[activation] !== none || (residual !== null && host.operands[residual] !== null)) return null;
    if (host.kernel === "gemm" && decodeSizes("gemm", host.sizes).accumulate !== 0) return null;
    if (y.storage !== t.storage || y.dtype !== t.dtype || !t.isContiguous()) return null;
    if (t.offset !== y.offset || t.numel() !== y.numel()) return null;
    if (inPlace) {
      if (writes[1] !== i || reads.some((at) => at < i)) return null;
    } else if (writes.length !== 1 || reads.length !== 1 || this.#kept.has(t.storage)) {
      return null;
    }
    const moved = host.operands.slice(0, -1).every((read) => {
      return read === null || !this.#uses.get(read.storage)?.writes.some((at) => at > p && at <= i);
    });
    return moved ? p : null;
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
