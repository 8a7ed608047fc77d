import { linkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { diskOf } from "../../src/daemon/disk-of.ts";
import { tempDir } from "../support/temp-dir.ts";

it("two names of one file are one disk, two files are two, and what is gone is itself", () => {
  const folder = tempDir("disk-of");
  const [a, b, c] = ["a", "b", "c"].map((name) => join(folder.path, name)) as [string, string, string];
  for (const path of [a, b]) writeFileSync(path, "");
  linkSync(a, c);
  expect(diskOf(a)).toBe(diskOf(c));
  expect(diskOf(a)).not.toBe(diskOf(b));
  folder.remove();
  expect(diskOf(a)).toBe(a);
});
