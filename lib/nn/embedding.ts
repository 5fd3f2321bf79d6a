import type { DType, FloatDType } from "../core/dtype.js";
import { checkInteger, checkOptions } from "../core/options.js";
import { empty, type Tensor } from "../core/tensor.js";
import { embedding } from "../ops/embedding.js";
import { normal_ } from "./init.js";
import { Module } from "./module.js";
import { floatDType } from "./options.js";
import { Parameter } from "./parameter.js";

export interface EmbeddingOptions {
  /** An index whose row starts as zeros and gets no gradient. */
  readonly paddingIdx?: number | null;
  /** Of the parameters; default float32. */
  readonly dtype?: FloatDType;
}

/**
 * A learned row for each of `numEmbeddings` indices.
 *
 * Shapes: index [...] (int32); weight [numEmbeddings, embeddingDim]; result [..., embeddingDim].
 */
export class Embedding extends Module {
  readonly numEmbeddings: number;
  readonly embeddingDim: number;
  readonly paddingIdx: number | null;
  readonly weight: Parameter<FloatDType>;

  constructor(numEmbeddings: number, embeddingDim: number, options: EmbeddingOptions = {}) {
    super();
    checkOptions("Embedding", options, ["paddingIdx", "dtype"]);
    this.numEmbeddings = checkInteger("Embedding", "numEmbeddings", numEmbeddings, 0);
    this.embeddingDim = checkInteger("Embedding", "embeddingDim", embeddingDim, 0);
    const at = options.paddingIdx ?? null;
    if (at !== null) checkInteger("Embedding", "paddingIdx", at, -numEmbeddings, numEmbeddings - 1);
    this.paddingIdx = at !== null && at < 0 ? at + numEmbeddings : at;
    this.weight = new Parameter(empty([numEmbeddings, embeddingDim], floatDType("Embedding", options.dtype)));
    this.resetParameters();
  }

  /** Gives the rows new first values: normal numbers, zeros at paddingIdx. */
  resetParameters(): void {
    const { weight, paddingIdx, embeddingDim } = this;
    if (weight.numel() > 0) normal_(weight);
    if (paddingIdx === null) return;
    const from = weight.offset + paddingIdx * embeddingDim;
    weight.storage.array(weight.dtype).fill(0, from, from + embeddingDim);
  }

  forward(index: Tensor<DType>): Tensor<FloatDType> {
    return embedding(index, this.weight, this.paddingIdx === null ? {} : { paddingIdx: this.paddingIdx });
  }

  override extraText(): string {
    const padding = this.paddingIdx === null ? "" : `, padding_idx=${this.paddingIdx}`;
    return `${this.numEmbeddings}, ${this.embeddingDim}${padding}`;
  }
}
