import { noGrad } from "../autograd/mode.js";
import type { DType } from "../core/dtype.js";
import { ArgumentError } from "../core/errors.js";
import { checkOptions } from "../core/options.js";
import { checkShape, format, type Shape } from "../core/shape.js";
import { isTensor } from "../core/tensor.js";
import { zeros } from "../ops/create.js";
import type { Module } from "./module.js";

/** One layer of a model's table: a module without parts, in the order in which it was first called. */
export interface SummaryRow {
  /** Its dotted name. */
  readonly name: string;
  /** Its class. */
  readonly layer: string;
  readonly inputShape: Shape;
  readonly outputShape: Shape;
  /** Learned numbers; a shared parameter counts where it comes first. */
  readonly parameters: number;
  /** Floating-point operations of all its calls; a multiply-add counts two. */
  readonly flops: number;
}

/** A model's table: `toString()` is text for the terminal. */
export class Summary {
  readonly model: string;
  readonly inputShape: Shape;
  readonly rows: readonly SummaryRow[];
  /** Of the whole model, also outside the rows. */
  readonly parameters: number;
  readonly trainable: number;
  readonly flops: number;

  constructor(given: Pick<Summary, "model" | "inputShape" | "rows" | "parameters" | "trainable">) {
    if (!Array.isArray(Object(given).rows)) throw new ArgumentError("Summary: is made by model.summary(inputShape)");
    this.model = given.model;
    this.inputShape = given.inputShape;
    this.rows = given.rows;
    this.parameters = given.parameters;
    this.trainable = given.trainable;
    this.flops = given.rows.reduce((sum, row) => sum + row.flops, 0);
  }

  toString(): string {
    const head = ["layer", "kind", "output", "parameters", "flops"];
    const body = this.rows.map((row) => [
      row.name,
      row.layer,
      format(row.outputShape),
      row.parameters.toLocaleString("en-US"),
      amount(row.flops),
    ]);
    const widths = head.map((title, i) => Math.max(title.length, ...body.map((cells) => cells[i]!.length)));
    const line = (cells: readonly string[]): string =>
      cells
        .map((cell, i) => (i < 3 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
        .join("  ")
        .trimEnd();
    const rule = "-".repeat(widths.reduce((sum, w) => sum + w, 2 * (widths.length - 1)));
    const frozen = this.parameters - this.trainable;
    return [
      `${this.model}, input ${format(this.inputShape)}`,
      rule,
      line(head),
      rule,
      ...body.map(line),
      rule,
      `parameters ${this.parameters.toLocaleString("en-US")}${frozen > 0 ? ` (${frozen.toLocaleString("en-US")} frozen)` : ""}, ` +
        `${amount(this.flops)} flops forward`,
    ].join("\n");
  }
}

Object.defineProperty(Summary.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Summary): string {
    return this.toString();
  },
});

/** A count with a unit: 842, 61.7 k, 1.82 G. */
function amount(n: number): string {
  for (const [size, unit] of [
    [1e12, "T"],
    [1e9, "G"],
    [1e6, "M"],
    [1e3, "k"],
  ] as const) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return String(n);
}

export function summarize(model: Module, inputShape: Shape, options: { dtype?: DType }): Summary {
  checkOptions("summary", options, ["dtype"]);
  const shape = checkShape("summary", inputShape);
  const dtype = options.dtype ?? model.parameters()[0]?.dtype ?? "float32";
  const modes = model.modules().map((module) => [module, module.training] as const);
  const rows = new Map<Module, { -readonly [K in keyof SummaryRow]: SummaryRow[K] }>();
  const counted = new Set<unknown>();
  const handles = [...model.namedModules()]
    .filter(([, module]) => module.children().length === 0)
    .map(([name, module]) =>
      module.registerForwardHook((_, inputs, output) => {
        const input = inputs[0];
        if (!isTensor(output) || !isTensor(input)) return;
        const before = rows.get(module);
        const flops = module.flops(input.shape, output.shape);
        if (before !== undefined) {
          before.flops += flops;
          return;
        }
        let parameters = 0;
        for (const [, parameter] of module.ownParameters()) {
          if (!counted.has(parameter)) parameters += parameter.numel();
          counted.add(parameter);
        }
        const layer = module.displayName;
        rows.set(module, { name, layer, inputShape: input.shape, outputShape: output.shape, parameters, flops });
      }),
    );
  model.eval();
  try {
    noGrad(() => (model.forward as (x: unknown) => unknown)(zeros(shape, { dtype })));
  } finally {
    for (const handle of handles) handle.remove();
    for (const [module, training] of modes) module.training = training;
  }
  let parameters = 0;
  let trainable = 0;
  for (const parameter of model.parameters()) {
    parameters += parameter.numel();
    if (parameter.requiresGrad) trainable += parameter.numel();
  }
  return new Summary({ model: model.displayName, inputShape: shape, rows: [...rows.values()], parameters, trainable });
}
