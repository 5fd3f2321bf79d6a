// @ts-check

/**
 * The pages: one per family, with the files of lib/ whose public names it shows, in order.
 *
 * @typedef {object} Page
 * @property {string} file name of the page
 * @property {string} title
 * @property {string} intro what the family has in common
 * @property {string[]} sources files below lib/
 * @property {string} [namespace] what names are reached through
 */

/** @type {Page[]} */
export const pages = [
  {
    file: "convolution.md",
    title: "Convolution",
    intro:
      "What a convolution layer computes is a cross-correlation: the kernel slides over the input without being flipped. `⋆` below is cross-correlation, `*` true convolution (flipped kernel). Inputs are `[batch, channels, sizes...]`, or without the batch. In each dimension\n\n    out = floor((size + padding before and after - dilation * (kernel - 1) - 1) / stride) + 1\n\nAll are differentiable to any order in input, weight and bias.",
    sources: ["ops/conv.ts", "ops/convolve.ts", "ops/conv_matrix.ts", "ops/conv_gradients.ts"],
  },
  {
    file: "transposed-convolution.md",
    title: "Transposed convolution",
    intro:
      "The transpose (gradient) of a convolution: every input element adds a multiple of the kernel to the output. In each dimension\n\n    out = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + outputPadding + 1",
    sources: ["ops/conv_transpose.ts"],
  },
  {
    file: "filters.md",
    title: "Filters",
    intro:
      "Kernels designed by hand, as float32 tensors, for `corr2d` and `conv2d` (reshape to `[1, 1, height, width]`). They are reached as `filters.sobel()` and so on.",
    sources: ["ops/filters.ts"],
    namespace: "filters",
  },
  {
    file: "pooling.md",
    title: "Pooling",
    intro:
      "One number per window of each channel. In each dimension\n\n    out = floor((size + 2 * padding - dilation * (kernelSize - 1) - 1) / stride) + 1\n\nwhere stride is the window's size unless given.",
    sources: ["ops/max_pool.ts", "ops/avg_pool.ts", "ops/adaptive_pool.ts", "ops/lp_pool.ts", "ops/unpool.ts"],
  },
  {
    file: "padding-and-windows.md",
    title: "Padding and windows",
    intro:
      "Borders, and the windows that a convolution sees. `matmul(weight, im2col(x))` is a convolution written as a matrix product.",
    sources: ["ops/pad.ts", "ops/unfold.ts"],
  },
  {
    file: "resizing.md",
    title: "Resizing",
    intro: "Images of another size, and channels moved into pixels and back.",
    sources: ["ops/upsample.ts", "ops/shuffle.ts"],
  },
  {
    file: "activations.md",
    title: "Activations",
    intro: "Element by element unless a dimension is named; results have x's shape. float32 and float64.",
    sources: ["ops/activation.ts", "ops/softmax.ts"],
  },
  {
    file: "losses.md",
    title: "Losses",
    intro:
      'How far outputs are from targets. `reduction` is "mean" (default), "sum", or "none" for one loss per element (or per row). Class indices are int32.',
    sources: ["ops/cross_entropy.ts", "ops/loss_distance.ts", "ops/loss.ts"],
  },
  {
    file: "normalization.md",
    title: "Normalisation",
    intro: "Mean 0 and variance 1 over some dimensions, then scaled and shifted; results have x's shape.",
    sources: ["ops/norm.ts", "ops/local_response_norm.ts"],
  },
  {
    file: "pointwise.md",
    title: "Pointwise",
    intro:
      "Element by element. Two operands broadcast: sizes are compared from the last dimension on, and a size of 1 (or a missing dimension) is repeated. Numbers take the dtype of the tensor beside them; float32 and float64 do not mix.",
    sources: ["ops/pointwise.ts", "ops/power.ts", "ops/clamp.ts", "ops/where.ts"],
  },
  {
    file: "comparison.md",
    title: "Comparison and logic",
    intro: "Results are bool tensors, without gradients; operands broadcast.",
    sources: ["ops/compare.ts"],
  },
  {
    file: "reductions.md",
    title: "Reductions",
    intro:
      "Many elements become one: all of them, or those along `dim` (one dimension or several), which `keepdim` keeps with size 1. Sums are added up in a fixed order, so they have the same bits for any number of threads.",
    sources: ["ops/reduce.ts", "ops/statistics.ts", "ops/extremes.ts", "ops/argmax.ts", "ops/vector_norm.ts"],
  },
  {
    file: "sorting.md",
    title: "Sorting and running sums",
    intro: "Along one dimension, the last unless named.",
    sources: ["ops/sort.ts"],
  },
  {
    file: "shapes-and-views.md",
    title: "Shapes and views",
    intro:
      "The same elements under another shape. A view shares memory with what it was made from: changing one in place changes the other, and gradients follow.",
    sources: ["ops/view.ts", "ops/rearrange.ts"],
  },
  {
    file: "indexing-and-joining.md",
    title: "Indexing and joining",
    intro: "Parts of tensors by position, and tensors made of several. Index tensors are int32; masks are bool.",
    sources: ["ops/items.ts", "ops/indexing.ts", "ops/scatter.ts", "ops/join.ts", "ops/embedding.ts"],
  },
  {
    file: "matrix-products.md",
    title: "Matrix products",
    intro: "Sums of products, computed by one blocked matrix kernel.",
    sources: ["ops/matmul.ts", "ops/products.ts"],
  },
  {
    file: "creation.md",
    title: "Creation",
    intro: "New tensors. Every factory takes `{ dtype, requiresGrad }` last; float32 is the default.",
    sources: ["ops/create.ts"],
  },
  {
    file: "random.md",
    title: "Random numbers and dropout",
    intro:
      "A counter-based generator (Philox 4x32-10): a number is a function of the seed and its place in the stream, on any machine and for any number of threads.",
    sources: ["ops/random.ts", "ops/dropout.ts"],
  },
  {
    file: "in-place.md",
    title: "In place",
    intro:
      "Twins of functions without the `_`, which write into their first argument and return it. Values are computed first, then written, so a call that throws changes nothing. Backward notices when a saved tensor was changed, and says which.",
    sources: ["ops/inplace.ts", "ops/inplace_functions.ts"],
  },
  {
    file: "gradients.md",
    title: "Gradients",
    intro: "Derivatives of what was recorded, of functions, and tools that check them. See the guide for how they fit.",
    sources: [
      "autograd/backward.ts",
      "autograd/mode.ts",
      "autograd/functional.ts",
      "autograd/function.ts",
      "autograd/checkpoint.ts",
      "autograd/saved.ts",
      "autograd/anomaly.ts",
      "autograd/gradcheck.ts",
    ],
  },
  {
    file: "settings-and-memory.md",
    title: "Settings, memory, other threads",
    intro:
      "What computes and how, where memory went, and computing off the main thread. The number of threads and the trace are those of the process; other settings belong to the thread (main or worker) that makes them.",
    sources: [
      "reference/choose.ts",
      "core/memory.ts",
      "core/memory_report.ts",
      "autograd/scope.ts",
      "ops/run_async.ts",
    ],
  },
];

/** Pages whose functions are no ops: their examples run, but no op is named under them. */
export const withoutOps = new Set(["gradients.md", "settings-and-memory.md", "creation.md"]);
