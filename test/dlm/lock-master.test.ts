import { MemoryLockMaster } from "../../src/dlm/memory-lock-master.ts";
import { lockMasterConformance } from "../conformance/lock-master.ts";

lockMasterConformance("memory", async () => {
  const master = new MemoryLockMaster();
  return { master, close: () => master.close() };
});
