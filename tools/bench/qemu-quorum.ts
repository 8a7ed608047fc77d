import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export interface Server {
  readonly uri: string;
  stop(): Promise<void>;
}

/**
 * QEMU's mirror: the quorum driver (two children, one vote) behind qemu-storage-daemon. With O_DIRECT it uses native
 * asynchronous IO, which is its fastest way here; on tmpfs its own thread pool. Without file locks: a second one serves
 * the same files, in turns.
 */
export async function startQuorum(
  socket: string,
  legs: readonly [string, string],
  direct: boolean,
  readPattern: "quorum" | "fifo",
): Promise<Server> {
  const leg = (file: string, node: string) =>
    `driver=file,filename=${file},node-name=${node},locking=off,cache.direct=${direct ? "on,aio=native" : "off,aio=threads"}`;
  const child: ChildProcess = spawn(
    "qemu-storage-daemon",
    [
      ...["--blockdev", leg(legs[0], "leg0"), "--blockdev", leg(legs[1], "leg1"), "--blockdev"],
      `driver=quorum,node-name=mirror,children.0=leg0,children.1=leg1,vote-threshold=1,read-pattern=${readPattern}`,
      ...["--nbd-server", `addr.type=unix,addr.path=${socket}`],
      ...["--export", "type=nbd,id=export,node-name=mirror,name=disk,writable=on"],
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error("qemu-storage-daemon did not start");
    await sleep(20);
  }
  return {
    uri: `nbd+unix:///disk?socket=${socket}`,
    async stop() {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}
