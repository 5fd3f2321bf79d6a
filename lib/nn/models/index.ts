/** Networks from the literature. None comes with trained weights; load some with `io.loadSafetensors`. */
export * from "./lenet.js";
export * from "./mobilenet.js";
export * from "./resnet.js";
export * from "./vgg.js";
