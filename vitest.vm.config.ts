import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/**
 * `npm run test:vm`: a real kernel under QEMU (tools/vm). One file after the other, since there is one set of guests at a
 * time; a hook that boots may have to wait for another tree's guests.
 */
export default defineConfig({
  ...base,
  test: {
    ...base.test,
    include: ["test/vm/**/*.test.ts"],
    exclude: [],
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 1_500_000,
  },
});
