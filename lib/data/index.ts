/** Data sets, loaders and transforms. Import it as `data`. */
export * from "./arrays.js";
export * from "./cifar.js";
export { type AsyncDataset, type Batch, type Dataset, stack, Subset, takeRows, TensorDataset } from "./dataset.js";
export * from "./idx.js";
export * from "./image_folder.js";
export * from "./loader.js";
export * from "./mnist.js";
export { fromModule, type ModuleOptions } from "./module.js";
export * from "./split.js";
export * from "./transforms.js";
