import { defineConfig } from "vitest/config";
import base from "./vitest.config.ts";

/** `npm run test:cluster`: scenarios with real daemons on a real Redis. They take minutes, so `npm test` leaves them out. */
export default defineConfig({ ...base, test: { ...base.test, include: ["test/**/*.cluster.ts"] } });
