import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { SharedBlock } from "../engine/shared-block.ts";
import { realClock } from "../env/real-env.ts";
import { Watchdog } from "../fencing/watchdog.ts";
import { GuardDuty } from "./guard-duty.ts";
import type { GuardInput, GuardMessage, GuardReply } from "./guard-protocol.ts";
import { timeText } from "./time-text.ts";

/** The guard's entry: an event loop of its own, which nothing in the rest of the process can hold up. */
const { beats, everyMs, limits, watchdog } = workerData as GuardInput;
const words = new Int32Array(beats);
const arrays = new Map<number, SharedBlock>();
const duty = new GuardDuty(limits);
const port = parentPort;
const armed = watchdog === null ? null : new Watchdog(watchdog);
armed?.pet();

function look(): void {
  realClock.after(everyMs, look);
  const verdict = duty.look(realClock.now(), everyMs, Atomics.load(words, 0), arrays.values());
  if (verdict.type === "kill") {
    // The logger lives in the thread that hangs.
    const line = {
      level: "error",
      evt: "guard.kill",
      time: timeText(realClock.wall()),
      msg: verdict.why,
    };
    writeSync(2, `${JSON.stringify(line)}\n`);
    process.kill(process.pid, "SIGKILL");
  } else if (verdict.pet) armed?.pet();
}

port?.on("message", (message: GuardMessage) => {
  if (message.type === "watch") arrays.set(message.id, new SharedBlock(message.shared));
  else if (message.type === "forget") arrays.delete(message.id);
  else {
    armed?.disarm();
    port.postMessage({ type: "stopped" } satisfies GuardReply);
    port.close();
    process.exit(0);
  }
});
look();
port?.postMessage({ type: "ready" } satisfies GuardReply);
