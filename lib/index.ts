/** xcorr: convolutional networks on server CPUs. The public names, nothing else. */
import "./reference/choose.js";
export { grad, backward } from "./autograd/backward.js";
export { noGrad, enableGrad, inferenceMode, isGradEnabled, setGradEnabled } from "./autograd/mode.js";
export * as autograd from "./autograd/index.js";
export { detectAnomaly } from "./autograd/anomaly.js";
export { checkpoint } from "./autograd/checkpoint.js";
export { CustomFunction, type FunctionContext } from "./autograd/function.js";
export { hessian, hvp, jacobian, jvp, vhp, vjp } from "./autograd/functional.js";
export { gradcheck, gradgradcheck } from "./autograd/gradcheck.js";
export { savedTensorHooks } from "./autograd/saved.js";
export { keep, scope } from "./autograd/scope.js";
export * from "./core/errors.js";
export { Tensor } from "./core/tensor.js";
export { emptyCache, type MemoryStats, memoryStats, resetPeak, setMemoryLimit } from "./core/memory.js";
export { type MemoryReport, memoryReport, type MemorySite, setMemoryDebug } from "./core/memory_report.js";
export {
  setBackend,
  getBackend,
  setNumThreads,
  getNumThreads,
  setTarget,
  getTarget,
  targets,
  setPrecision,
  getPrecision,
  setTrace,
} from "./reference/choose.js";
export * from "./ops/index.js";
export * as nn from "./nn/index.js";
export * as optim from "./optim/index.js";
export * as io from "./io/index.js";
export * as data from "./data/index.js";
export * as serve from "./serve/index.js";
export * as train from "./train/index.js";
export * as report from "./report/index.js";
