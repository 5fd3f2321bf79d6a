// Before npm pack, which itself builds only afterwards: the addon that was just built becomes the package's binary for this
// platform.
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const built = join(root, "build", "Release", "xcorr.node");
if (existsSync(built)) {
  const folder = join(root, "prebuilds", `${process.platform}-${process.arch}`);
  mkdirSync(folder, { recursive: true });
  copyFileSync(built, join(folder, "xcorr.node"));
} else {
  console.error(
    "xcorr: packing without native kernels, because build/Release/xcorr.node does not exist (npm run build:native)",
  );
}
