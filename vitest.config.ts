import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/vm/**"],
    pool: "forks",
    // What this machine has in /etc/mdctl is none of the tests' business.
    env: { MDCTL_CONFIG: "none" },
    // Two cores are the reference machine; integration tests start daemons of their own.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
