// Checks (or with --write applies) clang-format on the C++ sources. The npm package pins the version for everybody.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = readdirSync(join(root, "native"), { recursive: true })
  .map(String)
  .filter((f) => /\.(h|cpp|inl)$/.test(f))
  .map((f) => join("native", f));
const launcher = createRequire(import.meta.url).resolve("clang-format/index.js");
const flags = process.argv.includes("--write") ? ["-i"] : ["--dry-run", "--Werror"];
const { status } = spawnSync(process.execPath, [launcher, ...flags, ...files], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
