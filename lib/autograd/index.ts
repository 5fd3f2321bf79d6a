/** Everything about derivatives under one name, `autograd`, as PyTorch's users look for it. */

export { detectAnomaly } from "./anomaly.js";
export { type BackwardOptions, backward, type GradOptions, grad } from "./backward.js";
export { checkpoint } from "./checkpoint.js";
export { CustomFunction, CustomFunction as Function, type FunctionContext } from "./function.js";
export { type FunctionalOptions, hessian, hvp, jacobian, jvp, vhp, vjp } from "./functional.js";
export {
  type Differentiable,
  type GradcheckOptions,
  type GradgradcheckOptions,
  gradcheck,
  gradgradcheck,
} from "./gradcheck.js";
export { enableGrad, inferenceMode, isGradEnabled, noGrad, setGradEnabled } from "./mode.js";
export type { HookHandle, NodeHook, NodePreHook, TensorHook } from "./node.js";
export { type SavedTensorHooks, savedTensorHooks } from "./saved.js";
