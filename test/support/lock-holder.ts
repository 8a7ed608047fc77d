// A node in a process of its own, to be killed: holds `message` in EX on the lock server at argv[2].
import { isProcessGone, ownProcess } from "../../src/dlm/local-process.ts";
import { connectSocketMaster } from "../../src/dlm/socket/socket-lock-master.ts";
import { silentLogger } from "../../src/env/logger.ts";
import { realEnv } from "../../src/env/real-env.ts";
import { joinRecorded } from "./lockspace-node.ts";

const env = realEnv(silentLogger);
const master = await connectSocketMaster({ socketPath: process.argv[2] ?? "", env });
const lease = { leaseMs: 10_000 };
const node = await joinRecorded(master, env, "n1", { process: ownProcess(), isProcessGone, lease });
const lock = await node.lockspace.open("message", { lvb: true });
await lock.convert("EX");
await lock.convert("EX", { lvb: new Uint8Array(64).fill(1) });
process.stdout.write("held\n");
