import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { aptSourceOf } from "../../tools/vm/apt-source.ts";
import { tempDir } from "../support/temp-dir.ts";

const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
let etc: ReturnType<typeof tempDir>;
beforeEach(() => {
  etc = tempDir("apt");
  mkdirSync(join(etc.path, "sources.list.d"));
});
afterEach(() => etc.remove());

it("takes the machine's own entry, with the suite replaced", () => {
  const other = "Types: deb\nURIs: http://other.test/x\nSuites: ./\n\n";
  const text = `# ours\nTypes: deb\n# old\nURIs: http://mirror.test/debian\nSuites: ${release} ${release}-updates\nComponents: main\nSigned-By: /k.gpg\n`;
  writeFileSync(join(etc.path, "sources.list.d/debian.sources"), other + text);
  expect(aptSourceOf("next", etc.path)).toBe(
    "Types: deb\nURIs: http://mirror.test/debian\nSuites: next\nComponents: main\nSigned-By: /k.gpg\n",
  );
});

it("also from the one-line form", () => {
  const lines = [
    "# deb http://off.test/debian x main",
    `deb-src http://mirror.test/debian ${release} main`,
    `deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian ${release} main contrib`,
  ];
  writeFileSync(join(etc.path, "sources.list"), lines.join("\n"));
  expect(aptSourceOf("next", etc.path)).toBe(
    "Types: deb\nURIs: http://mirror.test/debian\nSuites: next\nComponents: main contrib\nSigned-By: /k.gpg\n",
  );
});

it("names what is missing", () => {
  writeFileSync(join(etc.path, "sources.list"), "deb http://mirror.test/x ./\n");
  expect(() => aptSourceOf("next", etc.path)).toThrow(`no entry for ${release}`);
});
