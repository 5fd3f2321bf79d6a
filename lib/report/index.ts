/** Pictures of a run, and the page that holds them. Import it as `report`. */
export {
  confusionMatrix,
  curve,
  type CurveOptions,
  type FigureOptions,
  featureMaps,
  filters,
  type FiltersOptions,
  type LayerOutput,
  type Mistake,
  misclassified,
  type Series,
} from "./figures.js";
export { type Answers, answers, layerOutputs } from "./look.js";
export { render, type ReportOptions, save } from "./page.js";
export { toPng } from "./png.js";
export { EventWriter } from "./tensorboard.js";
