/**
 * The TypeScript twin of native/abi.h: every kernel's sizes, element types and operands, declared once.
 *
 * A kernel call is data: `run(kernel, dtype, sizes, operands)`, where `sizes` is a flat list of numbers in the order
 * declared here. The native backend passes the list on as it is; the reference backend decodes it to the named object
 * that its loops read. On loading, the addon's own description is compared with this one.
 */

/** Most dimensions of a tensor, and of a strided operand (kRank in abi.h). */
export const maxRank = 8;
/** Convolution and pooling kernels always take depth, height, width; unused ones are 1 (kSpatial in abi.h). */
export const spatialRank = 3;
/** Images of a block in the places of conv_max_pool (pooled_place in abi.h). */
export const blockImages = 16;

export const unaryCodes = [
  "neg",
  "abs",
  "sign",
  "square",
  "sqrt",
  "rsqrt",
  "reciprocal",
  "exp",
  "expm1",
  "log",
  "log1p",
  "log2",
  "log10",
  "sin",
  "cos",
  "tan",
  "asin",
  "acos",
  "atan",
  "sinh",
  "cosh",
  "tanh",
  "sigmoid",
  "erf",
  "floor",
  "ceil",
  "round",
  "trunc",
  "relu",
  "leaky_relu",
  "elu",
  "gelu",
  "gelu_tanh",
  "silu",
  "softplus",
  "log_sigmoid",
  "clamp",
  "hard_sigmoid",
  "hard_swish",
  "add_scalar",
  "mul_scalar",
  "pow_scalar",
  "is_nan",
  "is_finite",
] as const;
export const binaryCodes = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "atan2",
  "fmod",
  "remainder",
  "relu_grad",
  "leaky_relu_grad",
  "elu_grad",
  "gelu_grad",
  "gelu_tanh_grad",
  "silu_grad",
  "sigmoid_grad",
  "tanh_grad",
  "softplus_grad",
  "clamp_grad",
  "hard_sigmoid_grad",
  "hard_swish_grad",
  "add_scaled",
] as const;
export const compareCodes = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"] as const;
export const reduceCodes = ["sum", "prod", "max", "min"] as const;
export const activationCodes = ["none", "relu", "relu6"] as const;
export const randomCodes = ["uniform", "normal", "bernoulli"] as const;
export const scatterCodes = ["assign", "add"] as const;

/** All code lists by the name the addon gives them. */
export const codes: Readonly<Record<string, readonly string[]>> = {
  unary: unaryCodes,
  binary: binaryCodes,
  compare: compareCodes,
  reduce: reduceCodes,
  activation: activationCodes,
  random: randomCodes,
  scatter: scatterCodes,
};

export type UnaryCode = (typeof unaryCodes)[number];
export type BinaryCode = (typeof binaryCodes)[number];
export type CompareCode = (typeof compareCodes)[number];
export type ReduceCode = (typeof reduceCodes)[number];
export type ActivationCode = (typeof activationCodes)[number];
export type RandomCode = (typeof randomCodes)[number];
export type ScatterCode = (typeof scatterCodes)[number];

/**
 * The fields of each sizes struct in order: a bare name is one integer, `name[3]` one per spatial dimension,
 * `name[8]` one per rank, `name.` (trailing dot) a double. Doubles come last.
 */
export const sizesFields = {
  FillSizes: ["count", "value."],
  CopySizes: ["x_type", "rank", "shape[8]", "x_stride[8]", "y_stride[8]"],
  UnarySizes: ["op", "count", "p0.", "p1."],
  BinarySizes: ["op", "rank", "shape[8]", "a_stride[8]", "b_stride[8]", "p0.", "p1."],
  WhereSizes: ["rank", "shape[8]", "condition_stride[8]", "a_stride[8]", "b_stride[8]"],
  ReduceSizes: ["op", "outer", "count", "inner"],
  ScanSizes: ["op", "reverse", "outer", "count", "inner"],
  SortSizes: ["descending", "outer", "count", "inner"],
  SoftmaxSizes: ["log", "outer", "count", "inner"],
  CrossEntropySizes: ["outer", "classes", "inner", "ignore_index", "smoothing."],
  GemmSizes: [
    "batch",
    "m",
    "n",
    "k",
    "trans_a",
    "trans_b",
    "a_batch_stride",
    "b_batch_stride",
    "accumulate",
    "bias_per",
    "activation",
  ],
  ConvSizes: [
    "batch",
    "groups",
    "in_channels",
    "out_channels",
    "in[3]",
    "kernel[3]",
    "stride[3]",
    "dilation[3]",
    "pad[3]",
    "out[3]",
    "activation",
  ],
  PoolSizes: [
    "planes",
    "in[3]",
    "kernel[3]",
    "stride[3]",
    "dilation[3]",
    "pad[3]",
    "out[3]",
    "count_include_pad",
    "divisor.",
  ],
  AdaptiveSizes: ["planes", "in[3]", "out[3]"],
  IndexSizes: ["op", "outer", "n", "m", "inner"],
  BatchNormSizes: ["batch", "channels", "inner", "activation", "eps."],
  LayerNormSizes: ["rows", "count", "eps."],
  RandomSizes: ["kind", "count", "seed", "offset", "p0.", "p1."],
  SgdSizes: ["count", "step", "nesterov", "maximize", "lr.", "momentum.", "dampening.", "weight_decay."],
  AdamSizes: ["count", "step", "amsgrad", "maximize", "decoupled", "lr.", "beta1.", "beta2.", "eps.", "weight_decay."],
  RmspropSizes: ["count", "centered", "maximize", "lr.", "alpha.", "eps.", "weight_decay.", "momentum."],
  AdagradSizes: ["count", "step", "maximize", "lr.", "lr_decay.", "weight_decay.", "eps."],
  NadamSizes: [
    "count",
    "step",
    "maximize",
    "decoupled",
    "lr.",
    "beta1.",
    "beta2.",
    "eps.",
    "weight_decay.",
    "mu.",
    "mu_next.",
    "mu_product.",
  ],
} as const;

type Fields = typeof sizesFields;
type FieldName<F extends string> = F extends `${infer N}[${string}` ? N : F extends `${infer N}.` ? N : F;
type FieldValue<F extends string> = F extends `${string}[3]`
  ? readonly [number, number, number]
  : F extends `${string}[${string}`
    ? readonly number[]
    : number;

/** The decoded sizes of a struct, by field name. */
export type Sizes<S extends keyof Fields> = {
  readonly [F in Fields[S][number] as FieldName<F>]: FieldValue<F>;
};

/**
 * Element types a kernel takes: F float32 and float64, N those and int32, A all five. Operands: `name` read,
 * `name?` read if given, `>name` written in full, `>name?` written if given, `=name` read and written.
 */
export const kernels = {
  fill: ["FillSizes", "A", [">y"]],
  copy: ["CopySizes", "A", ["x", ">y"]],
  unary: ["UnarySizes", "N", ["x", ">y"]],
  binary: ["BinarySizes", "N", ["a", "b", ">y"]],
  compare: ["BinarySizes", "N", ["a", "b", ">y"]],
  where: ["WhereSizes", "N", ["condition", "a", "b", ">y"]],
  reduce: ["ReduceSizes", "N", ["x", ">y"]],
  arg_reduce: ["ReduceSizes", "N", ["x", ">y", ">index"]],
  scan: ["ScanSizes", "N", ["x", ">y"]],
  sort: ["SortSizes", "N", ["x", ">y", ">index"]],
  softmax: ["SoftmaxSizes", "F", ["x", ">y"]],
  softmax_grad: ["SoftmaxSizes", "F", ["y", "dy", ">dx"]],
  cross_entropy: ["CrossEntropySizes", "F", ["logits", "target", "weight?", ">loss"]],
  cross_entropy_grad: ["CrossEntropySizes", "F", ["logits", "target", "weight?", "dy", ">dlogits"]],
  gemm: ["GemmSizes", "F", ["a", "b", "bias?", "=c"]],
  conv: ["ConvSizes", "F", ["x", "w", "bias?", "residual?", ">y"]],
  conv_input_grad: ["ConvSizes", "F", ["dy", "w", "bias?", ">dx"]],
  conv_weight_grad: ["ConvSizes", "F", ["x", "dy", ">dw", ">dbias?"]],
  conv_max_pool: ["ConvSizes", "F", ["x", "w", "bias?", ">y", ">place"]],
  conv_max_pool_grad: ["ConvSizes", "F", ["x", "w?", "place", "dy", ">dx?", ">dw", ">dbias?"]],
  im2col: ["ConvSizes", "F", ["x", ">y"]],
  col2im: ["ConvSizes", "F", ["x", ">y"]],
  max_pool: ["PoolSizes", "F", ["x", ">y", ">index"]],
  max_pool_grad: ["PoolSizes", "F", ["dy", "index", ">dx"]],
  avg_pool: ["PoolSizes", "F", ["x", ">y"]],
  avg_pool_grad: ["PoolSizes", "F", ["dy", ">dx"]],
  adaptive_max_pool: ["AdaptiveSizes", "F", ["x", ">y", ">index"]],
  adaptive_avg_pool: ["AdaptiveSizes", "F", ["x", ">y"]],
  adaptive_avg_pool_grad: ["AdaptiveSizes", "F", ["dy", ">dx"]],
  index_select: ["IndexSizes", "A", ["x", "index", ">y"]],
  index_add: ["IndexSizes", "N", ["x", "index", "=y"]],
  gather: ["IndexSizes", "A", ["x", "index", ">y"]],
  scatter: ["IndexSizes", "N", ["x", "index", "=y"]],
  batch_norm: ["BatchNormSizes", "F", ["x", "weight?", "bias?", "residual?", ">y", ">mean", ">variance", ">affine?"]],
  batch_norm_inference: ["BatchNormSizes", "F", ["x", "weight?", "bias?", "residual?", "mean", "variance", ">y"]],
  batch_norm_grad: [
    "BatchNormSizes",
    "F",
    ["x", "dy", "y?", "weight?", "mean", "variance", "affine?", ">dx", ">dweight", ">dbias", ">dresidual?"],
  ],
  layer_norm: ["LayerNormSizes", "F", ["x", "weight?", "bias?", ">y", ">mean", ">rstd"]],
  layer_norm_grad: ["LayerNormSizes", "F", ["x", "dy", "weight?", "mean", "rstd", ">dx", ">dweight", ">dbias"]],
  random_fill: ["RandomSizes", "F", [">y"]],
  sgd_step: ["SgdSizes", "F", ["=param", "grad", "momentum_buffer?"]],
  adam_step: ["AdamSizes", "F", ["=param", "grad", "=m", "=v", "v_max?"]],
  rmsprop_step: ["RmspropSizes", "F", ["=param", "grad", "=square_avg", "grad_avg?", "momentum_buffer?"]],
  adagrad_step: ["AdagradSizes", "F", ["=param", "grad", "=sum"]],
  nadam_step: ["NadamSizes", "F", ["=param", "grad", "=m", "=v"]],
} as const;

export type KernelName = keyof typeof kernels;
export type KernelSizes<K extends KernelName> = Sizes<(typeof kernels)[K][0]>;
/** Kernel names in the order of abi.h: a kernel's position is its number in a native call. */
export const kernelNames: readonly KernelName[] = Object.keys(kernels) as KernelName[];

/** What a kernel returns (Status in abi.h); above 0 it is 1 + the flat position of the first index out of range. */
export const status = { ok: 0, outOfMemory: -1 } as const;
