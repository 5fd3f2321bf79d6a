// @ts-check
/** The library that is measured. bench/package.json makes bench a package of its own, in which the name "xcorr" means nothing. */
export * from "../dist/index.js";
