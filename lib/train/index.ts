export * from "./checkpoint.js";
export * from "./progress.js";
