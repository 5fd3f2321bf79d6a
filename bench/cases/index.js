// @ts-check
import { batchNormCases } from "./batch_norm.js";
import { convCases, exactCases } from "./conv_layers.js";
import { gemmCases } from "./gemm.js";
import { inferCases, trainCases } from "./networks.js";
import { overheadCases } from "./overhead.js";

/** @import { Case } from "../types.js" */

/** @type {Record<string, () => Case[]>} */
export const suites = {
  layers: () => [...convCases(), ...batchNormCases(), ...exactCases()],
  gemm: gemmCases,
  train: trainCases,
  infer: inferCases,
  overhead: overheadCases,
};
